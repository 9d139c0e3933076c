{{- define "streamer.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "streamer.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "streamer.labels" -}}
{{ include "streamer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "streamer.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "streamer.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* One line of TOML. JSON writes text, numbers and lists as TOML does. A reference to a key of a Secret becomes the
       path where it is mounted: as it is for files, in a table for secrets. */ -}}
{{- define "streamer.setting" -}}
{{- $path := "" }}
{{- if kindIs "map" .value }}{{ if hasKey .value "secret" }}
{{- $path = printf "/run/secrets/streamer/%s/%s" .value.secret .value.key }}
{{- end }}{{ end }}
{{- if and $path (hasSuffix "_file" .key) }}{{ .key }} = {{ toJson $path }}
{{- else if $path }}{{ .key }} = { file = {{ toJson $path }} }
{{- else if kindIs "map" .value }}{{ .key }} = { {{ range $i, $key := keys .value | sortAlpha }}{{ if $i }}, {{ end }}
{{- $key | quote }} = {{ $inner := index $.value $key }}
{{- if kindIs "map" $inner }}{ {{ range $j, $name := keys $inner | sortAlpha }}{{ if $j }}, {{ end }}
{{- $name | quote }} = {{ index $inner $name | toJson }}{{ end }} }{{ else }}{{ toJson $inner }}{{ end }}
{{- end }} }
{{- else }}{{ .key }} = {{ toJson .value }}{{ end }}
{{- end }}

{{- define "streamer.config" -}}
{{- range $section := list "kafka" "topics" "exports" }}
[{{ $section }}]
{{- range $key, $value := index $.Values.config $section }}
{{ include "streamer.setting" (dict "key" $key "value" $value) }}
{{- end }}
{{ end }}
{{- range $type, $rules := .Values.config.entity }}
[entity.{{ $type }}]
{{- range $key, $value := $rules }}
{{ include "streamer.setting" (dict "key" $key "value" $value) }}
{{- end }}
{{ end }}
[http]
port = 8080
{{ range .Values.connections }}
[[connections]]
{{- range $key, $value := . }}
{{ include "streamer.setting" (dict "key" $key "value" $value) }}
{{- end }}
{{ end }}
{{- end }}

{{- /* The names of all Secrets that are referred to, with commas between. */ -}}
{{- define "streamer.secrets" -}}
{{- $names := list }}
{{- $tables := list .Values.config.kafka .Values.config.topics .Values.config.exports }}
{{- range $table := concat $tables .Values.connections (values (.Values.config.entity | default dict)) }}
{{- range $value := $table }}
{{- if kindIs "map" $value }}{{ if hasKey $value "secret" }}{{ $names = append $names $value.secret }}{{ end }}{{ end }}
{{- end }}
{{- end }}
{{- $names | uniq | sortAlpha | join "," }}
{{- end }}
