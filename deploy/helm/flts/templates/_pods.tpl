{{/* What all pods and containers have in common. */}}

{{/* Which servers each component uses: its environment and its network policy both follow from this table. */}}
{{- define "flts.edges" -}}
prepare: [kafka, s3]
preprocess: [kafka, s3]
train: [kafka, mlflow, s3]
evaluate: [kafka, mlflow, s3]
forecast: [kafka, s3]
gateway: [s3]
serve: [kafka, s3]
test: [kafka, s3, serve]
load: [serve]
mlflow: [postgresql, s3]
{{- end -}}

{{- define "flts.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* ids: of the image; where podSecurity.uid is null, the cluster gives every pod its numbers. */}}
{{- define "flts.pod.security" -}}
{{- $given := .root.Values.podSecurity -}}
runAsNonRoot: true
{{- if not (kindIs "invalid" $given.uid) }}
{{- $ids := .ids | default $given }}
runAsUser: {{ $ids.uid | int64 }}
runAsGroup: {{ $ids.gid | int64 }}
fsGroup: {{ $ids.gid | int64 }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Labels and annotations of a pod. checksum: of a file that it reads at the start only. */}}
{{- define "flts.pod.metadata" -}}
labels:
  {{- merge (include "flts.selector" . | fromYaml) (.labels | default dict) (.values.podLabels | default dict) | toYaml | nindent 2 }}
{{- $annotations := merge (dict) (.annotations | default dict) (.values.podAnnotations | default dict) }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The part of a pod that does not depend on what runs in it. */}}
{{- define "flts.pod.common" -}}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
{{- with .account | default .root.Values.serviceAccountName }}
serviceAccountName: {{ . | quote }}
{{- end }}
securityContext:
  {{- include "flts.pod.security" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "flts.pod.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "flts.selector" . | nindent 8 }}
        {{- with .labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* Environment of a container of FLTS. component: a key of the table above; threads: of its libraries. */}}
{{- define "flts.env" -}}
{{- $root := .root -}}
{{- $v := .root.Values -}}
{{- $uses := index (include "flts.edges" . | fromYaml) .component -}}
{{- $tracked := and (has "mlflow" $uses) (or $v.mlflow.enabled $v.mlflow.external.uri) -}}
- {name: HOME, value: /var/lib/flts}
- {name: FLTS_HOME, value: /var/lib/flts}
- {name: FLTS_ENVIRONMENT, value: {{ $v.environment | default .root.Release.Name | quote }}}
- name: FLTS_NODE
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- {name: FLTS_LOG_FORMAT, value: json}
- {name: FLTS_PROBE_HOST, value: {{ $v.listen | quote }}}
- {name: FLTS_PROBE_PORT, value: "9090"}
- {name: FLTS_TRACKING, value: {{ ternary "mlflow" "off" (not (empty $tracked)) | quote }}}
- {name: OMP_NUM_THREADS, value: {{ .threads | default 1 | quote }}}
{{- if .values.graceSeconds }}
- {name: FLTS_GRACE, value: {{ .values.graceSeconds | int64 | quote }}}
{{- end }}
{{- if has "s3" $uses }}
- {name: FLTS_STORE, value: {{ $v.s3.store | quote }}}
- {name: AWS_REGION, value: {{ $v.s3.region | quote }}}
{{- $endpoint := ternary (printf "http://%s-s3:8333" (include "flts.fullname" $root)) $v.s3.external.endpoint $v.s3.enabled }}
{{- if $endpoint }}
- {name: FLTS_S3_ENDPOINT, value: {{ $endpoint | quote }}}
{{- end }}
{{ include "flts.env.keys" $root }}
{{- end }}
{{- if has "kafka" $uses }}
- {name: FLTS_BUS, value: {{ printf "kafka://%s" (include "flts.brokers" $root) | quote }}}
- {name: FLTS_KAFKA_PARTITIONS, value: {{ $v.kafka.partitions | int64 | quote }}}
- {name: FLTS_KAFKA_REPLICATION, value: {{ ternary 1 ($v.kafka.replication | int64) $v.kafka.enabled | quote }}}
{{- if not $v.kafka.enabled }}
{{- $options := deepCopy ($v.kafka.external.options | default dict) }}
{{- if $v.kafka.external.caSecret }}
{{- $_ := set $options "ssl.ca.location" "/etc/flts-kafka-ca/ca.crt" }}
{{- end }}
{{- if $options }}
- {name: FLTS_KAFKA_OPTIONS, value: {{ toJson $options | quote }}}
{{- end }}
{{- if $v.kafka.external.existingSecret }}
- {name: FLTS_KAFKA_PASSWORD_FILE, value: /etc/flts-kafka/password}
{{- end }}
{{- end }}
{{- end }}
{{- if $tracked }}
- {name: FLTS_MLFLOW_URI, value: {{ ternary (printf "http://%s-mlflow:5000" (include "flts.fullname" $root)) $v.mlflow.external.uri $v.mlflow.enabled | quote }}}
{{- if and (not $v.mlflow.enabled) $v.mlflow.external.existingSecret }}
- name: MLFLOW_TRACKING_USERNAME
  valueFrom: {secretKeyRef: {name: {{ $v.mlflow.external.existingSecret | quote }}, key: username}}
- name: MLFLOW_TRACKING_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $v.mlflow.external.existingSecret | quote }}, key: password}}
{{- end }}
{{- end }}
{{- include "flts.ca.env" $root }}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Variables that name the CA bundle to what speaks TLS: the store and Python, MLflow's client, MLflow's server. */}}
{{- define "flts.ca.env" -}}
{{- if .Values.caBundle.configMap }}
{{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "AWS_CA_BUNDLE" }}
- {name: {{ . }}, value: /etc/flts-ca/ca.crt}
{{- end }}
{{- end }}
{{- end -}}

{{- define "flts.ca.mount" -}}
{{- if .Values.caBundle.configMap }}
- {name: ca, mountPath: /etc/flts-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "flts.ca.volume" -}}
{{- with .Values.caBundle }}
{{- if .configMap }}
- name: ca
  configMap: {name: {{ .configMap | quote }}, items: [{key: {{ .key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end -}}

{{- define "flts.env.keys" -}}
{{- if or .Values.s3.enabled (not .Values.s3.external.useRole) -}}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ include "flts.secret.s3" . | quote }}, key: s3-access-key}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ include "flts.secret.s3" . | quote }}, key: s3-secret-key}}
{{- end -}}
{{- end -}}

{{/* The bundled broker by a name that pods of other namespaces find, too, such as KEDA. */}}
{{- define "flts.broker" -}}
{{ include "flts.fullname" . }}-kafka.{{ .Release.Namespace }}.svc:9092
{{- end -}}

{{- define "flts.brokers" -}}
{{- if .Values.kafka.enabled -}}
{{ include "flts.fullname" . }}-kafka:9092
{{- else -}}
{{ required "kafka.external.brokers: name the brokers, host:port, or set kafka.enabled to true" .Values.kafka.external.brokers }}
{{- end -}}
{{- end -}}

{{- define "flts.mounts" -}}
- {name: home, mountPath: /var/lib/flts}
- {name: tmp, mountPath: /tmp}
- {name: release, mountPath: /etc/flts-release, readOnly: true}
{{- if not .Values.kafka.enabled }}
{{- if .Values.kafka.external.existingSecret }}
- {name: kafka, mountPath: /etc/flts-kafka, readOnly: true}
{{- end }}
{{- if .Values.kafka.external.caSecret }}
- {name: kafka-ca, mountPath: /etc/flts-kafka-ca, readOnly: true}
{{- end }}
{{- end }}
{{- include "flts.ca.mount" . }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "flts.volumes" -}}
- {name: home, emptyDir: {sizeLimit: {{ .Values.scratchSize }}}}
- {name: tmp, emptyDir: {sizeLimit: {{ .Values.scratchSize }}}}
- name: release
  configMap: {name: {{ include "flts.fullname" . }}-release}
{{- if not .Values.kafka.enabled }}
{{- with .Values.kafka.external.existingSecret }}
- name: kafka
  secret: {secretName: {{ . | quote }}, defaultMode: 0440, items: [{key: password, path: password}]}
{{- end }}
{{- with .Values.kafka.external.caSecret }}
- name: kafka-ca
  secret: {secretName: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}
{{- include "flts.ca.volume" . }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A container of FLTS up to its resources. args: of `flts`; image: another one; env: further variables, as text. */}}
{{- define "flts.container" -}}
{{- $env := include "flts.env" . -}}
{{- $named := list -}}
{{- range concat (fromYamlArray $env) (fromYamlArray (.env | default "")) -}}
{{- if has .name $named -}}
{{- fail (printf "extraEnv: %s would be there twice; the chart sets it, or extraEnv repeats it" .name) -}}
{{- end -}}
{{- $named = append $named .name -}}
{{- end -}}
name: {{ .name | default .component }}
image: {{ .image | default (include "flts.image" .root) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [flts]
args: {{ toJson .args }}
securityContext:
  {{- include "flts.container.security" . | nindent 2 }}
env:
  {{- $env | nindent 2 }}
  {{- with .env }}
  {{- . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
volumeMounts:
  {{- include "flts.mounts" .root | nindent 2 }}
  {{- with .mounts }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Probes by HTTP. port: name of the port; ready, live: paths; scheme: HTTP or HTTPS; host: that they name; start:
     seconds that a start may take. */}}
{{- define "flts.probes" -}}
startupProbe:
  {{- include "flts.probe" (merge (dict "path" (.live | default "/healthz")) .) | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ div (.start | default 120) 2 }}
livenessProbe:
  {{- include "flts.probe" (merge (dict "path" (.live | default "/healthz")) .) | nindent 2 }}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  {{- include "flts.probe" (merge (dict "path" (.ready | default "/readyz")) .) | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{- define "flts.probe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
  scheme: {{ .scheme | default "HTTP" }}
  {{- with .host }}
  httpHeaders: [{name: Host, value: {{ . | quote }}}]
  {{- end }}
{{- end -}}

{{/* Until when a Deployment may not be ready: its pods wait for servers, and those of the forecast service for a first
     promotion. Past the 600 seconds that Kubernetes has, `helm --wait` and Argo CD would call it failed. more: seconds. */}}
{{- define "flts.deadline" -}}
progressDeadlineSeconds: {{ add (.root.Values.prepare.timeoutSeconds | int64) (.more | default 0 | int64) 600 }}
{{- end -}}

{{/* How a Job is tried again: limit times, and a pod that a drained node ends is no failed try. */}}
{{- define "flts.job.retries" -}}
backoffLimit: {{ .limit | int64 }}
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
{{- end -}}

{{/* A Job. spec: its spec as text; its name ends in a digest of it, because the pods of a Job cannot be changed. */}}
{{- define "flts.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- $name := printf "%s-%s" .component (.spec | sha256sum | trunc 10) }}
  {{- include "flts.metadata" (dict "root" .root "name" $name "component" .component) | nindent 2 }}
spec:
  {{- .spec | nindent 2 }}
{{- end -}}
