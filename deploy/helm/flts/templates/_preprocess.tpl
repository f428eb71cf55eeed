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
{{- $config := "- {name: config, mountPath: /etc/flts, readOnly: true}" -}}
metadata:
  {{- include "flts.pod.metadata" (merge (dict "annotations" $annotations) $part) | nindent 2 }}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 30
  {{- include "flts.pod.common" $part | nindent 2 }}
  initContainers:
    - {{- include "flts.wait" (merge (dict "rows" (list "--rows" "/etc/flts/flts.toml") "mounts" $config) $part) | nindent 6 }}
  containers:
    - {{- include "flts.container" (merge (dict "args" $args "mounts" $config) $part) | nindent 6 }}
  volumes:
    {{- include "flts.volumes" . | nindent 4 }}
    - name: config
      configMap: {name: {{ include "flts.fullname" . }}-config}
{{- end -}}
{{- end -}}

{{/* The container that waits until buckets and servers are there, so that no container has to start twice. rows: options
     with which it waits for the rows, too. */}}
{{- define "flts.wait" -}}
{{- $args := concat (list "deploy" "wait" "--timeout" (.root.Values.prepare.timeoutSeconds | int64 | toString)) (.rows | default list) -}}
{{- include "flts.container" (merge (dict "name" "wait" "args" $args) .) -}}
{{- end -}}
