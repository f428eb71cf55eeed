{{/* A Deployment of a worker, or Jobs where its values ask for them. name: of the object; component, values, args, labels,
     threads as elsewhere; topic and group: what it reads, whose lag scales it. */}}
{{- define "flts.worker" -}}
{{- if include "flts.as.jobs" .values.autoscaling -}}
{{ include "flts.scaled.jobs" . }}
{{- else -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  {{- include "flts.deadline" . | nindent 2 }}
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas | int64 }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "flts.selector" . | nindent 6 }}
      {{- with .labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  template:
    {{- include "flts.worker.pod" . | nindent 4 }}
{{- if .values.autoscaling.enabled }}
---
{{ include "flts.scaled.worker" . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The pod of a worker. restart: where it is not that of a Deployment. */}}
{{- define "flts.worker.pod" -}}
metadata:
  {{- include "flts.pod.metadata" . | nindent 2 }}
spec:
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ add (.values.graceSeconds | int64) 15 }}
  {{- include "flts.pod.common" . | nindent 2 }}
  {{- include "flts.pod.spread" . | nindent 2 }}
  initContainers:
    - {{- include "flts.wait" . | nindent 6 }}
  containers:
    - {{- include "flts.container" (merge (dict "env" (include "flts.worker.env" .)) .) | nindent 6 }}
      ports:
        - {name: probes, containerPort: 9090}
      {{- include "flts.probes" (dict "port" "probes") | nindent 6 }}
  volumes:
    {{- include "flts.volumes" .root | nindent 4 }}
{{- end -}}

{{- define "flts.worker.env" -}}
{{- if include "flts.as.jobs" .values.autoscaling }}
- {name: FLTS_WORKER_IDLE, value: {{ .values.autoscaling.idleSeconds | int64 | quote }}}
{{- end }}
{{- with .values.trainTimeoutSeconds }}
- {name: FLTS_TRAIN_TIMEOUT, value: {{ int64 . | quote }}}
- {name: FLTS_JOBS, value: "1"}
{{- end }}
{{- with .values.decisionDeadlineSeconds }}
- {name: FLTS_DECISION_DEADLINE, value: {{ int64 . | quote }}}
{{- end }}
{{- end -}}
