{{/* Names and labels. */}}
{{- define "edge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "edge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "edge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "edge.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "edge.selector" -}}
app.kubernetes.io/name: {{ include "edge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: proxy
{{- end -}}

{{/* Without the chart's version: a new chart alone restarts nothing. */}}
{{- define "edge.podLabels" -}}
{{ include "edge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with mergeOverwrite (dict) .Values.labels .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "edge.labels" -}}
{{ include "edge.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "edge.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* metadata: of an object; takes (dict "root" $ "suffix" "config" "annotations" {} "labels" {}),
     or "name" for the whole name, and "namespace" when it is another one */}}
{{- define "edge.metadata" -}}
name: {{ default (printf "%s-%s" (include "edge.fullname" .root) (default "" .suffix)) .name }}
namespace: {{ default (include "edge.namespace" .root) .namespace }}
labels:
  {{- if .labels }}
  {{- mergeOverwrite (include "edge.labels" .root | fromYaml) .labels | toYaml | nindent 2 }}
  {{- else }}
  {{- include "edge.labels" .root | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (dict) .root.Values.annotations (default (dict) .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "edge.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-proxy" (include "edge.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* registry/repository:tag, or @digest; the component's tag before global.tag before appVersion */}}
{{- define "edge.image" -}}
{{- $image := .Values.proxy.image -}}
{{- $name := $image.repository -}}
{{- with default .Values.global.registry $image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $image.repository -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (coalesce $image.tag .Values.global.tag .Chart.AppVersion | toString) -}}
{{- end -}}
{{- end -}}

{{- define "edge.pullPolicy" -}}
{{- default .Values.global.imagePullPolicy .Values.proxy.image.pullPolicy -}}
{{- end -}}

{{/* The fewest pods that a Deployment has. */}}
{{- define "edge.replicasMin" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.proxy.replicaCount .Values.autoscaling.enabled -}}
{{- end -}}
