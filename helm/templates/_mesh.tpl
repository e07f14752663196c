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

{{/* What is wrong with the values of the mesh, as a list. */}}
{{- define "edge.meshFaults" -}}
{{- $faults := list -}}
{{- $agent := .Values.mesh.agent -}}
{{- range $name := list "h3Port" "tcpPort" -}}
{{- with index $agent.relay $name -}}
{{- $port := int . -}}
{{- if eq $agent.relay.mode "off" -}}
{{- $faults = append $faults (printf "mesh.agent.relay.%s: with mesh.agent.relay.mode: off there is no relay that would listen\n  mend: set the mode to auto, or the port to null" $name) -}}
{{- end -}}
{{- if eq $agent.mode "kernel" -}}
{{- $faults = append $faults (printf "mesh.agent.relay.%s: with mesh.agent.mode: kernel no agent relays: the kernel's WireGuard knows no relays\n  mend: set mesh.agent.mode to tun or auto, or the port to null" $name) -}}
{{- end -}}
{{- $taken := dict -}}
{{- if eq $name "h3Port" -}}
{{- $_ := set $taken "mesh.agent.port" $agent.port -}}
{{- else if $.Values.mesh.coordinator.hostNetwork -}}
{{- $_ := set $taken "mesh.coordinator.port" $.Values.mesh.coordinator.port -}}
{{- end -}}
{{- if ne (include "edge.exposure" $) "service" -}}
{{- /* HTTPS is on both protocols. */ -}}
{{- $_ := set $taken "proxy.ports.https" $.Values.proxy.ports.https -}}
{{- if eq $name "tcpPort" -}}
{{- $_ := set $taken "proxy.ports.http" $.Values.proxy.ports.http -}}
{{- end -}}
{{- end -}}
{{- range $key, $other := $taken -}}
{{- if eq $port (int $other) -}}
{{- $faults = append $faults (printf "mesh.agent.relay.%s: %d of the nodes is %s already\n  mend: give one of them another port" $name $port $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $faults -}}
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
