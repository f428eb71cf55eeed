{{/* The spec of the Job that loads the forecast service. rows: a file of the example in the image of FLTS. */}}
{{- define "flts.load.job" -}}
{{- include "flts.job.retries" (dict "limit" 0) }}
template:
  metadata:
    {{- include "flts.pod.metadata" . | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "flts.pod.common" . | nindent 4 }}
    initContainers:
      # the rows are in the image of FLTS
      - name: rows
        image: {{ include "flts.image" .root }}
        imagePullPolicy: {{ .root.Values.image.pullPolicy }}
        command: [cp, /usr/share/flts/jfk-departures/{{ .rows }}, /rows/]
        securityContext:
          {{- include "flts.container.security" . | nindent 10 }}
        resources:
          {{- toYaml .values.resources | nindent 10 }}
        volumeMounts:
          - {name: rows, mountPath: /rows}
    containers:
      - name: load
        image: {{ include "flts.image.other" (dict "key" "load.image" "image" .values.image) }}
        imagePullPolicy: {{ .root.Values.image.pullPolicy }}
        args:
          - --locustfile=/opt/flts/locustfile.py
          - --headless
          - --only-summary
          - --host={{ ternary "http" "https" (empty .root.Values.serve.tlsSecret) }}://{{ include "flts.fullname" .root }}-serve:{{ .root.Values.serve.service.port | int64 }}
          - --rows=/rows/{{ .rows }}
          - --token-file=/etc/flts-token/token
          - --scope={{ .values.scope }}
          - --scenario={{ .values.scenario }}
          - --rate={{ .values.rate | int64 }}
          - --seconds={{ .values.seconds | int64 }}
        securityContext:
          {{- include "flts.container.security" . | nindent 10 }}
        resources:
          {{- toYaml .values.resources | nindent 10 }}
        volumeMounts:
          - {name: locustfile, mountPath: /opt/flts, readOnly: true}
          - {name: rows, mountPath: /rows, readOnly: true}
          - {name: token, mountPath: /etc/flts-token, readOnly: true}
          - {name: tmp, mountPath: /tmp}
    volumes:
      - name: locustfile
        configMap: {name: {{ include "flts.fullname" .root }}-load}
      - {name: rows, emptyDir: {sizeLimit: 64Mi}}
      - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
      - {{- include "flts.token.volume" (dict "root" .root "component" "serve" "values" .root.Values.serve) | nindent 8 }}
{{- end -}}
