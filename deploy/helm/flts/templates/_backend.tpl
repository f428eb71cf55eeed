{{/* A StatefulSet of one bundled server with its disk, and its Service. name: of the server; port; container: as text;
     uid; mount: where the disk is, exactly the VOLUME of the image, or the node would put an empty folder over it;
     writable: further folders. For development: one replica. */}}
{{- define "flts.backend" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "flts.selector" . | nindent 4 }}
  # servers find themselves by this name before they are ready
  publishNotReadyAddresses: {{ eq .name "kafka" }}
  ports:
    - {name: {{ .name }}, port: {{ .port }}, targetPort: {{ .name }}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  replicas: 1
  # in order, Kubernetes would wait for a pod that cannot start, and an upgrade that mends it would never reach it
  podManagementPolicy: Parallel
  serviceName: {{ include "flts.fullname" .root }}-{{ .name }}
  selector:
    matchLabels:
      {{- include "flts.selector" . | nindent 6 }}
  template:
    metadata:
      {{- include "flts.pod.metadata" . | nindent 6 }}
    spec:
      terminationGracePeriodSeconds: 60
      {{- include "flts.pod.common" (merge (dict "ids" (dict "uid" .uid "gid" .uid)) .) | nindent 6 }}
      containers:
        - name: {{ .name }}
          image: {{ include "flts.image.other" (dict "key" (printf "%s.image" .name) "image" .values.image) }}
          imagePullPolicy: IfNotPresent
          securityContext:
            {{- include "flts.container.security" . | nindent 12 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          ports:
            - {name: {{ .name }}, containerPort: {{ .port }}}
          {{- .container | nindent 10 }}
          volumeMounts:
            - {name: data, mountPath: {{ .mount }}}
            {{- range $name, $path := .writable }}
            - {name: {{ $name }}, mountPath: {{ $path }}}
            {{- end }}
            {{- with .mounts }}
            {{- . | nindent 12 }}
            {{- end }}
      volumes:
        {{- range $name, $path := .writable }}
        - {name: {{ $name }}, emptyDir: {sizeLimit: 1Gi}}
        {{- end }}
        {{- with .volumes }}
        {{- . | nindent 8 }}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .values.storageClassName }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources: {requests: {storage: {{ .values.storage }}}}
{{- end -}}

{{/* Probes that run a command or open the port. handler: as text. */}}
{{- define "flts.backend.probes" -}}
startupProbe:
  {{- .handler | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 90
livenessProbe:
  {{- .handler | nindent 2 }}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  {{- .handler | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}
