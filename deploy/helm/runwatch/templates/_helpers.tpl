{{- define "runwatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "runwatch.fullname" -}}
{{- $name := include "runwatch.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "runwatch.selector" -}}
app.kubernetes.io/name: {{ include "runwatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "runwatch.labels" -}}
{{ include "runwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "runwatch.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "runwatch.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "runwatch.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Seconds of server.shutdown_timeout, rounded up. */}}
{{- define "runwatch.shutdownSeconds" -}}
{{- $text := dig "server" "shutdown_timeout" "20s" .Values.config | toString -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?(ms|s|m|h)$" $text) -}}
{{- fail (printf "config.server.shutdown_timeout is a duration such as 20s, not %s" $text) -}}
{{- end -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- $count := trimSuffix $unit $text | float64 -}}
{{- mulf $count (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit) | ceil | int -}}
{{- end -}}

{{/* The time that a stop takes at most: what is set has to cover it. */}}
{{- define "runwatch.gracePeriod" -}}
{{- $least := add .Values.preStopSeconds (include "runwatch.shutdownSeconds" . | int) 5 | int -}}
{{- $set := default $least .Values.terminationGracePeriodSeconds | int -}}
{{- if lt $set $least -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, and a stop may take %d: preStopSeconds, config.server.shutdown_timeout, and 5" $set $least) -}}
{{- end -}}
{{- $set -}}
{{- end -}}

{{/* Where users find the dashboard; empty without an ingress. */}}
{{- define "runwatch.publicUrl" -}}
{{- with .Values.ingress -}}
{{- if .enabled -}}
{{- printf "%s://%s%s" (ternary "https" "http" (not (empty .tlsSecret))) .host (trimSuffix "/" .path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
