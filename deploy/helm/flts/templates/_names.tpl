{{/* Names and labels. */}}

{{/* What the names of all objects start with. A Service begins with a letter and has no dots, a release may; the alias that
     a parent gives to this chart may have capitals and underscores, too; a long name ends in a digest, so that two that
     start alike stay apart. */}}
{{- define "flts.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- $name = .Values.fullnameOverride | default $name | replace "." "-" | replace "_" "-" | lower -}}
{{- if regexMatch "^[0-9]" $name -}}{{- $name = printf "r-%s" $name -}}{{- end -}}
{{- if gt (len $name) 40 -}}
{{- $name = printf "%s-%s" ($name | trunc 29 | trimSuffix "-") ($name | sha256sum | trunc 10) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Labels by which the pods of a release are selected, and those of a component; they never change. */}}
{{- define "flts.selector.release" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "flts.selector" -}}
{{ include "flts.selector.release" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Name, labels and annotations of an object. name: what follows the full name; component: what it belongs to;
annotations, extraLabels: of this object only. No value replaces a label of the chart: by them it finds its objects. */}}
{{- define "flts.metadata" -}}
name: {{ include "flts.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- merge (include "flts.labels" . | fromYaml) (.extraLabels | default dict) (.root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "flts.labels" -}}
{{ include "flts.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: flts
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* The reference of the image. */}}
{{- define "flts.image" -}}
{{- $image := .Values.image -}}
{{- $tag := $image.tag | default .Chart.AppVersion -}}
{{- if eq (toString $tag) "latest" -}}
{{- fail "image.tag: latest names another image every day; name a version or a digest" -}}
{{- end -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $tag }}{{ end -}}
{{- end -}}

{{/* The reference of an image of others. key: of the value that holds it; image: the value. */}}
{{- define "flts.image.other" -}}
{{- if or (hasSuffix ":latest" .image) (not (regexMatch "(:[^/:@]+|@sha256:[0-9a-f]{64})$" .image)) -}}
{{- fail (printf "%s: %s names another image every day; name a version or a digest" .key .image) -}}
{{- end -}}
{{- .image -}}
{{- end -}}

{{/* The reference of the image of the forecast service: it may be the small one, where that has every family. */}}
{{- define "flts.image.serve" -}}
{{- if eq .Values.serve.variant "all" -}}
{{- include "flts.image" . -}}
{{- else -}}
{{- $has := list "gru" "lstm" "ridge" -}}
{{- range $model := include "flts.models" . | fromJsonArray -}}
{{- if not (has $model $has) -}}
{{- fail (printf "serve.variant: the small image cannot answer with %s, which the experiment names; it has %s" $model (join ", " $has)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.serve.digest -}}
{{ .Values.image.repository }}@{{ .Values.serve.digest }}
{{- else if .Values.image.digest -}}
{{- fail "serve.digest: image.digest names the image of all roles; name that of the small one, too" -}}
{{- else -}}
{{ include "flts.image" . }}-serve
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret that the job of secrets.create makes. */}}
{{- define "flts.secret.made" -}}
{{ include "flts.fullname" . }}-generated
{{- end -}}

{{/* Name of a Secret: a named one, or the one that is made. key: the value that names it; name: its value. */}}
{{- define "flts.secret" -}}
{{- if .name -}}
{{ .name }}
{{- else if .root.Values.secrets.create -}}
{{ include "flts.secret.made" .root }}
{{- else -}}
{{- fail (printf "%s: name a Secret, or set secrets.create to true" .key) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the keys of the object store. */}}
{{- define "flts.secret.s3" -}}
{{- if and (not .Values.s3.enabled) (not .Values.s3.existingSecret) -}}
{{- fail "s3.existingSecret: name the Secret with the keys of the external store, or set s3.external.useRole" -}}
{{- end -}}
{{- include "flts.secret" (dict "root" . "key" "s3.existingSecret" "name" .Values.s3.existingSecret) -}}
{{- end -}}

{{/* Thousandths of a core in a quantity of CPU. */}}
{{- define "flts.millicores" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text }}{{ trimSuffix "m" $text | int64 }}{{ else }}{{ mulf (float64 $text) 1000 | int64 }}{{ end -}}
{{- end -}}
