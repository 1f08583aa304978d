{{- define "sidereus.name" -}}
{{- .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "sidereus.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sidereus.selector" -}}
app.kubernetes.io/name: {{ include "sidereus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sidereus.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "sidereus.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The settings file: those of the values, and over them what the chart itself decides. */}}
{{- define "sidereus.settings" -}}
{{- $own := dict
  "server" (dict "grpc" "0.0.0.0:50051" "data" "/var/lib/sidereus" "log_format" "json" "drain_s" (int .Values.drainSeconds) "shutdown_grace_s" (int .Values.graceSeconds))
  "http" (dict "enabled" true "listen" (ternary "0.0.0.0:8080" "127.0.0.1:8080" .Values.metrics.enabled) "allow_remote" .Values.metrics.enabled)
  "tls" (dict "certificate" "/etc/sidereus/tls/tls.crt" "key" "/etc/sidereus/tls/tls.key" "client_certificates" .Values.tls.clientCertificates)
-}}
{{- if .Values.tls.clientCaSecretName -}}
{{- $_ := set (get $own "tls") "client_ca" "/etc/sidereus/clients/ca.crt" -}}
{{- end -}}
{{- $all := mustMergeOverwrite (deepCopy .Values.settings) $own -}}
version = 1
{{- range $section, $values := $all }}
{{ include "sidereus.section" (dict "path" $section "values" $values) }}
{{- end }}
{{- end -}}

{{/* One section, and those below it. Whole numbers stay whole. */}}
{{- define "sidereus.section" -}}
{{- $path := .path }}
[{{ $path }}]
{{- range $key, $value := .values }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ if kindIs "float64" $value }}{{ if eq (float64 (int64 $value)) $value }}{{ int64 $value }}{{ else }}{{ $value }}{{ end }}{{ else }}{{ toJson $value }}{{ end }}
{{- end }}
{{- end }}
{{- range $key, $value := .values }}
{{- if kindIs "map" $value }}
{{ include "sidereus.section" (dict "path" (printf "%s.%s" $path $key) "values" $value) }}
{{- end }}
{{- end }}
{{- end -}}
