{{/* Names and labels. */}}

{{- define "flts.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- .Values.fullnameOverride | default $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which a component is selected; they never change. */}}
{{- define "flts.selector" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Name, labels and annotations of an object. name: what follows the full name; component: what it belongs to;
annotations, extraLabels: of this object only. */}}
{{- define "flts.metadata" -}}
name: {{ include "flts.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "flts.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/part-of: flts
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  {{- with merge (dict) (.extraLabels | default dict) .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
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
