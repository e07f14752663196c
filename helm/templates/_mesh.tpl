{{/* The mesh: names and labels of its two programs. */}}
{{- define "edge.meshName" -}}
{{- printf "%s-mesh" (include "edge.fullname" .) -}}
{{- end -}}

{{/* takes (dict "root" $ "part" "mesh-agent") */}}
{{- define "edge.partMetadata" -}}
{{- $labels := dict "app.kubernetes.io/component" .part -}}
{{- include "edge.metadata" (dict "root" .root "suffix" (default .part .suffix) "labels" $labels "annotations" .annotations) -}}
{{- end -}}

{{- define "edge.partSelector" -}}
{{- $labels := dict "app.kubernetes.io/component" .part -}}
{{- mergeOverwrite (include "edge.selector" .root | fromYaml) $labels | toYaml -}}
{{- end -}}

{{- define "edge.partPodLabels" -}}
{{- $labels := dict "app.kubernetes.io/component" .part -}}
{{- mergeOverwrite (include "edge.podLabels" .root | fromYaml) $labels | toYaml -}}
{{- end -}}

{{/* Where agents find the coordinator. */}}
{{- define "edge.meshUrl" -}}
{{- $coordinator := .Values.mesh.coordinator -}}
{{- default (printf "https://%s-coordinator.%s.svc:%d" (include "edge.meshName" .) (include "edge.namespace" .) (int $coordinator.port)) $coordinator.url -}}
{{- end -}}

{{/* What a pod of the mesh has of the release's and of its own values; takes (dict "root" $ "of" map) */}}
{{- define "edge.meshPlacement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $.of $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with default $.root.Values.priorityClassName .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
