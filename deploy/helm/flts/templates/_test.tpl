{{/* Not empty where `helm test` can show a run: something has to fit and to judge. */}}
{{- define "flts.tested" -}}
{{- if and .Values.test.enabled .Values.trainers.enabled .Values.evaluate.enabled }}yes{{ end -}}
{{- end -}}

{{/* Not empty where the forecast service answers for the scope of the test. */}}
{{- define "flts.test.asks" -}}
{{- $scopes := .Values.serve.scopes -}}
{{- if and .Values.serve.enabled (or (empty $scopes) (has "helm-test" $scopes)) }}yes{{ end -}}
{{- end -}}

{{/* The models of the test: ridge and GRU where they are trained, else all that are. */}}
{{- define "flts.test.models" -}}
{{- $trained := include "flts.models" . | fromJsonArray -}}
{{- $few := list -}}
{{- range list "gru" "ridge" -}}
{{- if has . $trained -}}{{- $few = append $few . -}}{{- end -}}
{{- end -}}
{{- $few | default $trained | join "," -}}
{{- end -}}

{{- define "flts.test.args" -}}
{{- $args := list "deploy" "smoke" "/usr/share/flts/jfk-departures/flts.toml" "--models" (include "flts.test.models" .) "--timeout" (.Values.test.timeoutSeconds | int64 | toString) -}}
{{- if include "flts.test.asks" . -}}
{{- $scheme := ternary "http" "https" (empty .Values.serve.tlsSecret) -}}
{{- $args = concat $args (list "--url" (printf "%s://%s-serve:%d" $scheme (include "flts.fullname" .) (int64 .Values.serve.service.port))) -}}
{{- end -}}
{{- toJson $args -}}
{{- end -}}
