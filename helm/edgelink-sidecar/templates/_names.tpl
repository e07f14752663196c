{{/* Names and labels. */}}
{{- define "edgelink.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "edgelink.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "edgelink.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "edgelink.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "edgelink.selector" -}}
app.kubernetes.io/name: {{ include "edgelink.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "edgelink.labels" -}}
{{ include "edgelink.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* metadata: of an object; takes (dict "root" $ "name" "…") */}}
{{- define "edgelink.metadata" -}}
name: {{ .name }}
namespace: {{ default .root.Release.Namespace .root.Values.namespace }}
labels:
  {{- include "edgelink.labels" .root | nindent 2 }}
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "edgelink.serviceAccount" -}}
{{- default (ternary (include "edgelink.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "edgelink.secretName" -}}
{{- if .Values.edgelink.preSharedKey -}}
{{- printf "%s-psk" (include "edgelink.fullname" .) -}}
{{- else -}}
{{- required "\nedgelink: there is no pre-shared key\n  mend: set edgelink.preSharedKey, or name a Secret in edgelink.existingSecret" .Values.edgelink.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "edgelink.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- with $image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $image.repository -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion (toString $image.tag)) -}}
{{- end -}}
{{- end -}}

{{/* What the mode needs, and what values say: theirs wins, and drop stays unless they say it. */}}
{{- define "edgelink.securityContext" -}}
{{- $isBare := eq .Values.edgelink.mode "netstack" -}}
{{- $own := dict "privileged" false "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "runAsNonRoot" $isBare "runAsUser" (ternary 65532 0 $isBare) "runAsGroup" (ternary 65532 0 $isBare) -}}
{{- $capabilities := dict "drop" (list "ALL") -}}
{{- if not $isBare -}}{{- $_ := set $capabilities "add" (list "NET_ADMIN") -}}{{- end -}}
{{- with .Values.podSecurityContext.capabilities -}}{{- $capabilities = mergeOverwrite $capabilities (deepCopy .) -}}{{- end -}}
{{- $_ := set $own "capabilities" $capabilities -}}
{{- $all := mergeOverwrite $own (deepCopy .Values.securityContext) -}}
{{- /* Kubernetes refuses a privileged container that may not escalate. */ -}}
{{- if $all.privileged -}}{{- $_ := set $all "allowPrivilegeEscalation" true -}}{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* The port of the coordinator. */}}
{{- define "edgelink.serverPort" -}}
{{- $host := (urlParse .Values.edgelink.serverUrl).host -}}
{{- default "443" (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $host)) -}}
{{- end -}}
