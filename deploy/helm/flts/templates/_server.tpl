{{/* A Deployment and a Service of a server. port: of the data; probes: name of the port of the probes. */}}
{{- define "flts.server" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  {{- $fits := ternary .root.Values.trainers.trainTimeoutSeconds 0 (eq .component "serve") }}
  {{- include "flts.deadline" (dict "root" .root "more" $fits) | nindent 2 }}
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas | int64 }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "flts.selector" . | nindent 6 }}
  template:
    metadata:
      {{- include "flts.pod.metadata" . | nindent 6 }}
    spec:
      terminationGracePeriodSeconds: {{ add (.values.graceSeconds | int64) (.values.drainSeconds | int64) 15 }}
      {{- include "flts.pod.common" . | nindent 6 }}
      {{- include "flts.pod.spread" . | nindent 6 }}
      containers:
        - {{- include "flts.container" (merge (dict "env" (include "flts.server.env" .) "mounts" (include "flts.server.mounts" .)) .) | nindent 10 }}
          ports:
            - {name: http, containerPort: {{ .port }}}
            {{- if eq .probes "probes" }}
            - {name: probes, containerPort: 9090}
            {{- end }}
          {{- $scheme := ternary "HTTPS" "HTTP" (and (eq .probes "http") (not (empty .values.tlsSecret))) }}
          {{- include "flts.probes" (dict "port" .probes "scheme" $scheme) | nindent 10 }}
      volumes:
        {{- include "flts.volumes" .root | nindent 8 }}
        - {{- include "flts.token.volume" . | nindent 10 }}
        {{- with .values.tlsSecret }}
        - name: tls
          secret: {secretName: {{ . | quote }}, defaultMode: 0440}
        {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  type: {{ .values.service.type }}
  selector:
    {{- include "flts.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .values.service.port | int64 }}, targetPort: http}
{{- if .values.autoscaling.enabled }}
---
{{ include "flts.scaled.server" . }}
{{- end }}
{{- end -}}

{{/* The volume with the token of a server. component: gateway or serve; values: its own. */}}
{{- define "flts.token.volume" -}}
name: token
secret:
  secretName: {{ include "flts.secret" (dict "root" .root "key" (printf "%s.existingSecret" .component) "name" .values.existingSecret) | quote }}
  defaultMode: 0440
  items: [{key: {{ .component }}-token, path: token}]
{{- end -}}

{{- define "flts.server.env" -}}
- {name: FLTS_HOST, value: {{ .root.Values.listen | quote }}}
- {name: FLTS_TOKEN_FILE, value: /etc/flts-token/token}
- {name: FLTS_DRAIN_SECONDS, value: {{ .values.drainSeconds | int64 | quote }}}
{{- if .values.tlsSecret }}
- {name: FLTS_TLS_CERTIFICATE_FILE, value: /etc/flts-tls/tls.crt}
- {name: FLTS_TLS_KEY_FILE, value: /etc/flts-tls/tls.key}
{{- end }}
{{- with .values.scopes }}
- {name: FLTS_SERVE_SCOPES, value: {{ toJson . | quote }}}
{{- end }}
{{- end -}}

{{- define "flts.server.mounts" -}}
- {name: token, mountPath: /etc/flts-token, readOnly: true}
{{- if .values.tlsSecret }}
- {name: tls, mountPath: /etc/flts-tls, readOnly: true}
{{- end }}
{{- end -}}
