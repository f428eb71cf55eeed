{{/* What changes the number of pods. */}}

{{/* Whether a worker runs as Jobs, each of which ends by itself. */}}
{{- define "flts.as.jobs" -}}
{{- if and .enabled (eq (.kind | default "ScaledObject") "ScaledJob") }}true{{ end -}}
{{- end -}}

{{/* Fails where a scaler would have fewer replicas at most than at least; no cluster takes one. */}}
{{- define "flts.scale.range" -}}
{{- $scale := .values.autoscaling -}}
{{- if gt ($scale.minReplicas | int64) ($scale.maxReplicas | int64) -}}
{{- fail (printf "%s: autoscaling.minReplicas is %d, above maxReplicas, which is %d" .name ($scale.minReplicas | int64) ($scale.maxReplicas | int64)) -}}
{{- end -}}
{{- end -}}

{{/* A trigger of KEDA: the messages that wait for a group, those in work included, because they are committed last. */}}
{{- define "flts.trigger.lag" -}}
- type: kafka
  metadata:
    bootstrapServers: {{ ternary (include "flts.broker" .root) .root.Values.kafka.external.brokers .root.Values.kafka.enabled | quote }}
    topic: {{ .topic }}
    consumerGroup: {{ .group }}
    lagThreshold: {{ .values.autoscaling.lag | int64 | quote }}
    # a group that never committed starts at the first message
    offsetResetPolicy: earliest
    # members beyond the partitions that have messages would have nothing to do
    limitToPartitionsWithLag: "true"
  {{- with .values.autoscaling.authentication }}
  authenticationRef: {name: {{ . | quote }}}
  {{- end }}
{{- end -}}

{{/* Scales the Deployment of a worker. */}}
{{- define "flts.scaled.worker" -}}
{{- include "flts.scale.range" . -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ include "flts.fullname" .root }}-{{ .name }}}
  minReplicaCount: {{ .values.autoscaling.minReplicas | int64 }}
  maxReplicaCount: {{ .values.autoscaling.maxReplicas | int64 }}
  triggers:
    {{- include "flts.trigger.lag" . | nindent 4 }}
{{- end -}}

{{/* Starts Jobs for the messages that wait. None is ended: each ends when no message has come for a while, so scaling down
     ends no fit, and neither does an upgrade. */}}
{{- define "flts.scaled.jobs" -}}
{{- include "flts.scale.range" . -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  minReplicaCount: {{ .values.autoscaling.minReplicas | int64 }}
  maxReplicaCount: {{ .values.autoscaling.maxReplicas | int64 }}
  pollingInterval: 30
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  rollout: {strategy: gradual}
  jobTargetRef:
    {{- include "flts.job.retries" (dict "limit" 2) | nindent 4 }}
    template:
      {{- include "flts.worker.pod" (merge (dict "restart" "Never") .) | nindent 6 }}
  triggers:
    {{- include "flts.trigger.lag" . | nindent 4 }}
{{- end -}}

{{/* Requests in a service on average over two minutes: by Little's law, the seconds that they spend in it per second. */}}
{{- define "flts.open.requests" -}}
sum(rate(flts_serve_request_seconds_sum{namespace="{{ .Release.Namespace }}",route=~"/predict|/invocations|.*/infer"}[2m]))
{{- end -}}

{{/* Scales the Deployment of a server: by CPU, and by the requests in it where its values name what counts them. */}}
{{- define "flts.scaled.server" -}}
{{- include "flts.scale.range" . -}}
{{- $by := .values.autoscaling.by | default "cpu" -}}
{{- if eq $by "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ include "flts.fullname" .root }}-{{ .name }}}
  minReplicaCount: {{ .values.autoscaling.minReplicas | int64 }}
  maxReplicaCount: {{ .values.autoscaling.maxReplicas | int64 }}
  triggers:
    - type: prometheus
      metadata:
        serverAddress: {{ required "serve.autoscaling.prometheus: name the Prometheus that KEDA asks, http://HOST:PORT" .values.autoscaling.prometheus | quote }}
        query: {{ include "flts.open.requests" .root | quote }}
        threshold: {{ .values.autoscaling.inFlight | int64 | quote }}
    # what is left where Prometheus does not answer
    - type: cpu
      metricType: Utilization
      metadata: {value: {{ .values.autoscaling.targetCPU | int64 | quote }}}
{{- else -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "flts.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "flts.fullname" .root }}-{{ .name }}}
  minReplicas: {{ .values.autoscaling.minReplicas | int64 }}
  maxReplicas: {{ .values.autoscaling.maxReplicas | int64 }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .values.autoscaling.targetCPU | int64 }}}}
    {{- if eq $by "adapter" }}
    - type: Pods
      pods:
        metric: {name: flts_serve_open_requests}
        target: {type: AverageValue, averageValue: {{ .values.autoscaling.inFlight | int64 | quote }}}
    {{- end }}
{{- end }}
{{- end -}}
