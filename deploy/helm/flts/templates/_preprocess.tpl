{{/* Pod template of a run. force: fit all models again, which the CronJob never asks for: it looks for new rows. */}}
{{- define "flts.preprocess.pod" -}}
{{- $force := .force -}}
{{- with .root -}}
{{- $values := .Values.preprocess -}}
{{- $checksum := include "flts.toml" . | sha256sum -}}
{{- $annotations := dict "checksum/flts-toml" $checksum -}}
{{- $args := list "preprocess" "/etc/flts/flts.toml" -}}
{{- if and (ne $force "") (ne $force "0") -}}
{{- $args = append $args "--recompute" -}}
{{- $_ := set $annotations "flts/force-reprocess" $force -}}
{{- end -}}
{{- if $values.claimTest -}}{{- $args = append $args "--claim-test" -}}{{- end -}}
{{- $part := dict "root" . "component" "preprocess" "values" $values -}}
metadata:
  {{- include "flts.pod.metadata" (merge (dict "annotations" $annotations) $part) | nindent 2 }}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 30
  {{- include "flts.pod.common" $part | nindent 2 }}
  initContainers:
    - {{- include "flts.wait" $part | nindent 6 }}
  containers:
    - {{- include "flts.container" (merge (dict "args" $args "mounts" "- {name: config, mountPath: /etc/flts, readOnly: true}") $part) | nindent 6 }}
  volumes:
    {{- include "flts.volumes" . | nindent 4 }}
    - name: config
      configMap: {name: {{ include "flts.fullname" . }}-config}
{{- end -}}
{{- end -}}

{{/* The container that waits until topics, buckets and servers are there, so that no container has to start twice. */}}
{{- define "flts.wait" -}}
{{- $args := list "deploy" "wait" "--timeout" (.root.Values.prepare.timeoutSeconds | int64 | toString) -}}
{{- include "flts.container" (merge (dict "name" "wait" "args" $args) .) -}}
{{- end -}}
