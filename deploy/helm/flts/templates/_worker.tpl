{{/* A Deployment of a worker. name: of the object; component, values, args, labels, threads as elsewhere; topic and group:
     what it reads, whose lag scales it. */}}
{{- define "flts.worker" -}}
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
{{- with .values.autoscaling }}
{{- if .enabled }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "flts.metadata" $ | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ include "flts.fullname" $.root }}-{{ $.name }}}
  minReplicaCount: {{ .minReplicas | int64 }}
  maxReplicaCount: {{ .maxReplicas | int64 }}
  triggers:
    - type: kafka
      metadata:
        bootstrapServers: {{ ternary (include "flts.broker" $.root) $.root.Values.kafka.external.brokers $.root.Values.kafka.enabled | quote }}
        topic: {{ $.topic }}
        consumerGroup: {{ $.group }}
        lagThreshold: {{ .lag | int64 | quote }}
        # a group that never committed starts at the first message
        offsetResetPolicy: earliest
      {{- with .authentication }}
      authenticationRef: {name: {{ . }}}
      {{- end }}
{{- end }}
{{- end }}
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
