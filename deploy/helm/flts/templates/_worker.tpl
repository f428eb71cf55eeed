{{/* A Deployment of a worker. name: of the object; component, values, args, labels as elsewhere; replicas, threads. */}}
{{- define "flts.worker" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  replicas: {{ .values.replicas | int64 }}
  selector:
    matchLabels:
      {{- include "flts.selector" . | nindent 6 }}
      {{- with .labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  template:
    metadata:
      {{- include "flts.pod.metadata" . | nindent 6 }}
    spec:
      terminationGracePeriodSeconds: {{ add (.values.graceSeconds | int64) 15 }}
      {{- include "flts.pod.common" . | nindent 6 }}
      {{- include "flts.pod.spread" . | nindent 6 }}
      initContainers:
        - {{- include "flts.wait" . | nindent 10 }}
      containers:
        - {{- include "flts.container" (merge (dict "env" (include "flts.worker.env" .)) .) | nindent 10 }}
          ports:
            - {name: probes, containerPort: 9090}
          {{- include "flts.probes" (dict "port" "probes") | nindent 10 }}
      volumes:
        {{- include "flts.volumes" .root | nindent 8 }}
{{- end -}}

{{- define "flts.worker.env" -}}
- name: FLTS_KAFKA_MEMBER
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- with .values.trainTimeoutSeconds }}
- {name: FLTS_TRAIN_TIMEOUT, value: {{ int64 . | quote }}}
- {name: FLTS_JOBS, value: "1"}
{{- end }}
{{- with .values.decisionDeadlineSeconds }}
- {name: FLTS_DECISION_DEADLINE, value: {{ int64 . | quote }}}
{{- end }}
{{- end -}}
