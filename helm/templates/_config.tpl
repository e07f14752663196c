{{/* edge.yaml: what the values say, and config: laid over it. */}}
{{- define "edge.config" -}}
{{- $proxy := .Values.proxy -}}
{{- $isHost := eq (include "edge.exposure" .) "hostNetwork" -}}
{{- $listen := dict
  "http" (printf "0.0.0.0:%s" (include "edge.listenPort" (dict "root" $ "port" "http")))
  "https" (printf "0.0.0.0:%s" (include "edge.listenPort" (dict "root" $ "port" "https")))
  "advertiseHttpsPort" (int $proxy.ports.https) -}}
{{- if $isHost -}}{{- $_ := set $listen "shared" true -}}{{- end -}}
{{- $certificates := list (dict "certFile" $proxy.tls.certFile "keyFile" $proxy.tls.keyFile) -}}
{{- range $proxy.tls.extraSecretNames -}}
{{- $folder := printf "/etc/quic-proxy-waf-tls/%s" . -}}
{{- $certificates = append $certificates (dict "certFile" (printf "%s/tls.crt" $folder) "keyFile" (printf "%s/tls.key" $folder)) -}}
{{- end -}}
{{- $tls := dict "certificates" $certificates -}}
{{- if not $proxy.tls.extraSecretNames -}}{{- $_ := set $tls "whenMissing" "self-signed" -}}{{- end -}}
{{- $serverId := include "edge.serverId" . -}}
{{- $isOn := and .Values.waf.enabled $proxy.waf.enabled -}}
{{- $waf := dict "mode" (ternary $proxy.waf.mode "off" $isOn) "budget" (printf "%dms" (int $proxy.waf.timeout)) -}}
{{- if ge (int $proxy.waf.timeout) 3000 -}}
{{- $_ := set $waf "workerSilence" (printf "%dms" (add (int $proxy.waf.timeout) 2000)) -}}
{{- end -}}
{{- with $proxy.waf.paranoia -}}{{- $_ := set $waf "paranoia" (int .) -}}{{- end -}}
{{- with $proxy.waf.exclusions -}}{{- $_ := set $waf "exclusions" . -}}{{- end -}}
{{- if eq (include "edge.hasWafService" .) "true" -}}
{{- $port := int .Values.waf.service.questionsPort -}}
{{- /* Longer than an inspection may take, or the proxy gives up before the service does. */ -}}
{{- $service := dict
  "endpoints" (list (printf "%s-waf:%d" (include "edge.fullname" .) $port))
  "listen" (printf "0.0.0.0:%d" $port)
  "timeout" (printf "%dms" (add (int $proxy.waf.timeout) 500)) -}}
{{- if .Values.waf.service.secretName -}}{{- $_ := set $service "secretFile" "/etc/quic-proxy-waf-secret/secret" -}}{{- end -}}
{{- $_ := set $waf "service" $service -}}
{{- end -}}
{{- $host := $proxy.backend.host -}}
{{- if and (contains ":" $host) (not (hasPrefix "[" $host)) -}}{{- $host = printf "[%s]" $host -}}{{- end -}}
{{- $upstream := dict "name" "default" "endpoints" (list (dict "url" (printf "http://%s:%d" $host (int $proxy.backend.port)))) -}}
{{- $drain := dict
  "mode" (ternary "handover" "withdraw" (and $isHost (eq (include "edge.surges" .) "true")))
  "delay" (printf "%ds" (int .Values.drain.delaySeconds))
  "timeout" (printf "%ds" (int .Values.drain.timeoutSeconds)) -}}
{{- $status := printf "%s:%d" (ternary .Values.metrics.hostAddress "0.0.0.0" $isHost) (int .Values.metrics.port) -}}
{{- $written := dict "listen" $listen "tls" $tls "upstreams" (list $upstream) "waf" $waf "drain" $drain "status" $status -}}
{{- if $proxy.mesh -}}
{{- if not .Values.mesh.enabled -}}
{{- fail "\nproxy.mesh: there is no mesh\n  mend: set mesh.enabled to true, or proxy.mesh to false" -}}
{{- end -}}
{{- $_ := set $written "mesh" (dict "stateDir" "/etc/edge-mesh") -}}
{{- end -}}
{{- $quic := dict -}}
{{- with $serverId -}}{{- $_ := set $quic "serverId" . -}}{{- end -}}
{{- if eq (include "edge.hasNeighbours" .) "true" -}}
{{- /* Each pod adds its own address (EDGE_QUIC_NEIGHBOURS_ADDRESS). */ -}}
{{- $port := int .Values.quic.neighbours.port -}}
{{- $meet := printf "%s-neighbours:%d" (include "edge.fullname" .) $port -}}
{{- $_ := set $quic "neighbours" (dict "listen" (printf "0.0.0.0:%d" $port) "meet" $meet) -}}
{{- end -}}
{{- if $quic -}}{{- $_ := set $written "quic" $quic -}}{{- end -}}
{{- mergeOverwrite $written (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* Where each pod finds its own server id: the ConfigMap is the same for all. */}}
{{- define "edge.serverId" -}}
{{- $id := .Values.quic.serverId -}}
{{- if eq $id "aws" -}}
env:AWS_LBC_QUIC_SERVER_ID
{{- else if hasPrefix "annotation:" $id -}}
env:POD_QUIC_SERVER_ID
{{- else -}}
{{- $id -}}
{{- end -}}
{{- end -}}

{{/* What a running program cannot take over (proxy/unchangeable.ts): a change of it restarts pods. */}}
{{- define "edge.unchangeable" -}}
{{- $config := include "edge.config" . | fromYaml -}}
{{- range list "listen.http" "listen.https" "listen.advertiseHttpsPort" "listen.shared" "mesh.stateDir" "quic.serverId" "quic.neighbours.listen" "quic.neighbours.address" "status" "wireThreads" "waf.workers" "waf.workerSilence" "waf.service.endpoints" "waf.events" "waf.collections.file" "log.access" "reload.watch" "limits.inspectedBodiesMax" "limits.workerQueueMax" -}}
{{- $value := $config -}}
{{- range splitList "." . -}}
{{- $value = ternary (index (default (dict) $value) .) nil (and (kindIs "map" $value) (hasKey (default (dict) $value) .)) -}}
{{- end }}
{{ . }}: {{ toJson $value }}
{{- end -}}
{{- end -}}
