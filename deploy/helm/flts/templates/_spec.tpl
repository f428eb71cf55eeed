{{/* The experiment: values become flts.toml. src/flts/deploy/values.py does the same; a test compares the two. */}}

{{/* The keys of `preprocess` and the keys of flts.toml that they fill. */}}
{{- define "flts.spec.filled" -}}
sampleTrainRows: [sample, train_rows]
sampleTestRows: [sample, test_rows]
sampleStrategy: [sample, strategy]
sampleSeed: [sample, seed]
extraHashSalt: [preprocess, hash_salt]
datasetName: [dataset, name]
{{- end -}}

{{/* flts.toml: one line for each value, so that the order of tables does not matter. */}}
{{- define "flts.toml" -}}
{{- $spec := deepCopy (.Values.spec | default dict) -}}
{{- $preprocess := .Values.preprocess -}}
{{- range $key, $path := include "flts.spec.filled" . | fromYaml -}}
{{- $given := index $preprocess $key -}}
{{- if not (or (kindIs "invalid" $given) (and (kindIs "string" $given) (eq (toString $given) ""))) -}}
{{- $table := first $path -}}
{{- $name := last $path -}}
{{- $below := index $spec $table | default dict -}}
{{- if not (kindIs "invalid" (index $below $name)) -}}
{{- fail (printf "preprocess.%s and spec.%s.%s are the same value; keep one of them" $key $table $name) -}}
{{- end -}}
{{- if and (has $key (list "sampleTrainRows" "sampleTestRows" "sampleSeed")) (kindIs "string" $given) (regexMatch "^(0|[1-9][0-9]{0,14})$" (toString $given)) -}}
{{- $given = int64 (toString $given) -}}
{{- end -}}
{{- $_ := set $spec $table (merge (dict $name $given) $below) -}}
{{- end -}}
{{- end -}}
{{- include "flts.toml.table" (dict "path" "" "key" "spec" "table" $spec) -}}
{{- end -}}

{{/* The lines of a table. path: its dotted key in flts.toml; key: its key in the values, for messages. */}}
{{- define "flts.toml.table" -}}
{{- $here := . -}}
{{- range $name, $value := .table -}}
{{- $word := ternary $name (toJson $name) (regexMatch "^[A-Za-z0-9_-]+$" $name) -}}
{{- $path := ternary $word (printf "%s.%s" $here.path $word) (eq $here.path "") -}}
{{- $key := printf "%s.%s" $here.key $name -}}
{{- if kindIs "invalid" $value -}}
{{- else if and (kindIs "map" $value) $value -}}
{{ include "flts.toml.table" (dict "path" $path "key" $key "table" $value) }}
{{- else -}}
{{ $path }} = {{ include "flts.toml.value" (dict "key" $key "value" $value) }}
{{ end -}}
{{- end -}}
{{- end -}}

{{/* One value. JSON and TOML write text, truth and numbers alike; JSON writes 1000000 where text would be 1e+06. */}}
{{- define "flts.toml.value" -}}
{{- $here := . -}}
{{- if kindIs "slice" .value -}}
[{{- range $at, $item := .value -}}{{- if $at }}, {{ end -}}{{ include "flts.toml.value" (dict "key" (printf "%s[%d]" $here.key $at) "value" $item) }}{{- end -}}]
{{- else if kindIs "map" .value -}}
{ {{- $first := true -}}{{- range $name, $item := .value -}}{{- if not $first }}, {{ end -}}{{- $first = false -}}{{ toJson $name }} = {{ include "flts.toml.value" (dict "key" (printf "%s.%s" $here.key $name) "value" $item) }}{{- end -}} }
{{- else if kindIs "bool" .value -}}
{{ .value }}
{{- else if and (kindIs "string" .value) (not (typeIs "json.Number" .value)) -}}
{{ .value | toJson | replace "\x7f" "\\u007f" }}
{{- else if kindIs "invalid" .value -}}
{{- fail (printf "%s: null is no value of flts.toml" .key) -}}
{{- else -}}
{{- if or (gt (float64 .value) 9007199254740991.0) (lt (float64 .value) -9007199254740991.0) -}}
{{- fail (printf "%s: a number beyond 2^53 - 1 does not arrive exact; write it in quotes" .key) -}}
{{- end -}}
{{ toJson .value }}
{{- end -}}
{{- end -}}

{{/* The models that have a trainer, as a list: the ensemble is made by whoever judges. */}}
{{- define "flts.models" -}}
{{- $models := dict -}}
{{- range $name, $table := (.Values.spec | default dict).models | default dict -}}
{{- if not (kindIs "invalid" $table) -}}{{- $_ := set $models $name $table -}}{{- end -}}
{{- end -}}
{{- if not $models -}}
{{- range .Files.Get "files/default-models.json" | fromJsonArray -}}{{- $_ := set $models . dict -}}{{- end -}}
{{- end -}}
{{- keys (omit $models "ensemble") | sortAlpha | toJson -}}
{{- end -}}

{{/* run.threads of the experiment. */}}
{{- define "flts.threads" -}}
{{- $threads := ((.Values.spec | default dict).run | default dict).threads -}}
{{- /* by way of a float: as a whole number, 010 in quotes would be an octal one */ -}}
{{- if kindIs "invalid" $threads }}1{{ else }}{{ float64 $threads | int64 }}{{ end -}}
{{- end -}}

{{/* Not empty when the experiment names rows and columns: only then can a run start. */}}
{{- define "flts.runnable" -}}
{{- $dataset := (.Values.spec | default dict).dataset | default dict -}}
{{- if and (or .Values.preprocess.datasetName $dataset.name $dataset.train_file) $dataset.targets }}yes{{ end -}}
{{- end -}}
