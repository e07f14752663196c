{{/* How clients reach the proxy, and what follows from it. */}}
{{- define "edge.exposure" -}}
{{- $proxy := .Values.proxy -}}
{{- if $proxy.exposure -}}
{{- $proxy.exposure -}}
{{- else if not $proxy.ports.useHostPorts -}}
{{- ternary "nodeAddress" "service" (eq $proxy.kind "daemonset") -}}
{{- else if and (eq $proxy.kind "daemonset") .Values.daemonset.hostNetwork -}}
hostNetwork
{{- else -}}
hostPort
{{- end -}}
{{- end -}}

{{/* The ports that the program itself listens on: low ones only where they are the node's. */}}
{{- define "edge.listenPort" -}}
{{- if eq (include "edge.exposure" .root) "hostNetwork" -}}
{{- index .root.Values.proxy.ports .port -}}
{{- else if eq .port "http" -}}
8080
{{- else -}}
8443
{{- end -}}
{{- end -}}

{{/* "true" when the pod takes ports of its node that only root may take. */}}
{{- define "edge.needsRoot" -}}
{{- $ports := .Values.proxy.ports -}}
{{- if eq (include "edge.exposure" .) "hostNetwork" -}}
{{- if or (lt (int $ports.http) 1024) (lt (int $ports.https) 1024) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The update strategy of the DaemonSet. On the node's own network the new pod takes over the sockets
     of the old one, and behind a Service it gets the new connections, so that "one node at a time"
     need not mean a node without a pod: without a maxSurge of the user's, maxUnavailable becomes it. */}}
{{- define "edge.updateStrategy" -}}
{{- $strategy := deepCopy .Values.daemonset.updateStrategy -}}
{{- $rolling := default (dict) $strategy.rollingUpdate -}}
{{- $isRolling := eq (default "RollingUpdate" $strategy.type) "RollingUpdate" -}}
{{- if and $isRolling (ne (include "edge.exposure" .) "hostPort") (not (hasKey $rolling "maxSurge")) -}}
{{- $_ := set $strategy "rollingUpdate" (dict "maxSurge" (default 1 $rolling.maxUnavailable) "maxUnavailable" 0) -}}
{{- end -}}
{{- toYaml $strategy -}}
{{- end -}}

{{/* "true" when a new pod of a DaemonSet starts beside the old one on its node. */}}
{{- define "edge.surges" -}}
{{- $rolling := include "edge.updateStrategy" . | fromYaml | dig "rollingUpdate" dict -}}
{{- if and (eq .Values.proxy.kind "daemonset") (not (has (toString (default 0 $rolling.maxSurge)) (list "0" "0%"))) -}}
true
{{- end -}}
{{- end -}}

{{/* "true" when the pods of a node have networks of their own, and new flows of a client may come to
     another one than its QUIC connections: then they pass packets on to each other. */}}
{{- define "edge.hasNeighbours" -}}
{{- and (eq (include "edge.exposure" .) "nodeAddress") .Values.quic.neighbours.enabled -}}
{{- end -}}

{{/* What is wrong with the values of the exposure nodeAddress, as a list. */}}
{{- define "edge.nodeAddressFaults" -}}
{{- $service := .Values.service -}}
{{- $faults := list -}}
{{- if ne .Values.proxy.kind "daemonset" -}}
{{- $faults = append $faults "proxy.exposure: nodeAddress is for a DaemonSet: a Deployment leaves nodes without a pod as it moves\n  mend: set proxy.kind to daemonset, or proxy.exposure to service" -}}
{{- end -}}
{{- if semverCompare "<1.26.0-0" .Capabilities.KubeVersion.Version -}}
{{- $faults = append $faults (printf "proxy.exposure: nodeAddress needs Kubernetes 1.26, and this is %s: before it, kube-proxy sends nothing to a pod that ends\n  mend: set proxy.exposure to hostPort" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if ne $service.type "LoadBalancer" -}}
{{- $faults = append $faults (printf "service.type: %s has no addresses of nodes\n  mend: leave it at LoadBalancer, or set proxy.exposure to service" $service.type) -}}
{{- end -}}
{{- range $key, $wanted := dict "externalTrafficPolicy" "Local" "loadBalancerClass" "quic-proxy-waf/node-address" -}}
{{- $value := index $service $key -}}
{{- if and $value (ne $value $wanted) -}}
{{- $faults = append $faults (printf "service.%s: %s, but proxy.exposure: nodeAddress means %s\n  mend: remove it, or set proxy.exposure to service" $key $value $wanted) -}}
{{- end -}}
{{- end -}}
{{- if or (values $service.nodePorts | compact) (eq $service.clusterIP "None") -}}
{{- $faults = append $faults "service.nodePorts, service.clusterIP: clients come to the addresses of nodes, on proxy.ports\n  mend: remove service.nodePorts, and clusterIP: None" -}}
{{- end -}}
{{- if and .Values.quic.neighbours.enabled (eq (int .Values.quic.neighbours.port) 8443) -}}
{{- $faults = append $faults "quic.neighbours.port: 8443 on UDP is where the program serves HTTP/3\n  mend: give it another port, for example 8444" -}}
{{- end -}}
{{- if lt (int .Values.controller.replicaCount) 1 -}}
{{- $faults = append $faults "controller.replicaCount: 0, so that nobody writes the addresses of nodes\n  mend: set it to 1 or more" -}}
{{- end -}}
{{- toYaml $faults -}}
{{- end -}}

{{/* Values that contradict each other, said with the mend. */}}
{{- define "edge.check" -}}
{{- $exposure := include "edge.exposure" . -}}
{{- $proxy := .Values.proxy -}}
{{- $rolling := include "edge.updateStrategy" . | fromYaml | dig "rollingUpdate" dict -}}
{{- $faults := list -}}
{{- if and (eq $exposure "hostNetwork") (ne $proxy.kind "daemonset") -}}
{{- $faults = append $faults "proxy.exposure: hostNetwork is for a DaemonSet, since two pods of a Deployment may meet on one node\n  mend: set proxy.kind to daemonset, or proxy.exposure to service" -}}
{{- end -}}
{{- if and .Values.daemonset.hostNetwork $proxy.exposure (ne $exposure "hostNetwork") -}}
{{- $faults = append $faults (printf "daemonset.hostNetwork: true contradicts proxy.exposure: %s\n  mend: remove one of them" $exposure) -}}
{{- end -}}
{{- if and (has $exposure (list "service" "nodeAddress")) $proxy.ports.useHostPorts -}}
{{- $faults = append $faults (printf "proxy.ports.useHostPorts: true contradicts proxy.exposure: %s\n  mend: remove one of them" $exposure) -}}
{{- end -}}
{{- if eq $exposure "nodeAddress" -}}
{{- $faults = concat $faults (include "edge.nodeAddressFaults" . | fromYamlArray) -}}
{{- else if and .Values.service.healthCheckNodePort (ne .Values.service.externalTrafficPolicy "Local") -}}
{{- $faults = append $faults "service.healthCheckNodePort: Kubernetes has one only with service.externalTrafficPolicy: Local\n  mend: set that, or remove the port" -}}
{{- end -}}
{{- if and (eq $exposure "hostPort") (include "edge.surges" .) -}}
{{- $faults = append $faults "daemonset.updateStrategy.rollingUpdate.maxSurge: a host port belongs to one pod of a node, so the new pod would stay Pending for ever\n  mend: set it to 0 and maxUnavailable to 1, or set daemonset.hostNetwork to true, where both can listen" -}}
{{- end -}}
{{- $unavailable := toString (default 0 $rolling.maxUnavailable) -}}
{{- if and (include "edge.surges" .) (not (has $unavailable (list "0" "0%"))) -}}
{{- $faults = append $faults (printf "daemonset.updateStrategy.rollingUpdate: maxSurge %v and maxUnavailable %v; Kubernetes takes only one of them\n  mend: set maxUnavailable to 0 to surge, or maxSurge to 0" $rolling.maxSurge $rolling.maxUnavailable) -}}
{{- end -}}
{{- $ending := add .Values.drain.delaySeconds .Values.drain.timeoutSeconds -}}
{{- if ge $ending (int64 .Values.terminationGracePeriodSeconds) -}}
{{- $faults = append $faults (printf "terminationGracePeriodSeconds: %d is not more than drain.delaySeconds + drain.timeoutSeconds (%d), so pods would be killed while they finish\n  mend: set it to %d or more, or shorten the drain" (int64 .Values.terminationGracePeriodSeconds) $ending (add $ending 10)) -}}
{{- end -}}
{{- if eq (int $proxy.ports.http) (int $proxy.ports.https) -}}
{{- $faults = append $faults (printf "proxy.ports: http and https are both %d\n  mend: give one of them another port" (int $proxy.ports.http)) -}}
{{- end -}}
{{- $listen := default (dict) .Values.config.listen -}}
{{- range $key, $instead := dict "http" "proxy.ports.http" "https" "proxy.ports.https" "advertiseHttpsPort" "proxy.ports.https" "shared" "proxy.exposure" -}}
{{- if hasKey $listen $key -}}
{{- $faults = append $faults (printf "config.listen.%s: the chart sets it, so that ports, probes and Services agree\n  mend: use %s" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- range $key, $instead := dict "admin" "edge explain in a pod" "status" "metrics.port" -}}
{{- if hasKey $.Values.config $key -}}
{{- $faults = append $faults (printf "config.%s: the chart sets it, since probes ask there\n  mend: use %s" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (default (dict) (default (dict) .Values.config.waf).service) "endpoints" -}}
{{- if eq .Values.waf.mode "service" -}}
{{- $faults = append $faults "config.waf.service.endpoints: waf.mode: service asks the pods of this release\n  mend: remove it, or set waf.mode to embedded and keep it, to ask a service elsewhere" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.waf.mode "service") (eq (int .Values.waf.service.port) (int .Values.waf.service.questionsPort)) -}}
{{- $faults = append $faults (printf "waf.service: port and questionsPort are both %d\n  mend: give one of them another port" (int .Values.waf.service.port)) -}}
{{- end -}}
{{- if hasKey .Values.config "drain" -}}
{{- $faults = append $faults "config.drain: the chart sets it, because the grace period follows from it\n  mend: use drain.delaySeconds and drain.timeoutSeconds" -}}
{{- end -}}
{{- if hasKey (default (dict) .Values.config.tls) "certificates" -}}
{{- $faults = append $faults "config.tls.certificates: the chart mounts and names them\n  mend: use proxy.tls.secretName and proxy.tls.extraSecretNames" -}}
{{- end -}}
{{- if .Values.mesh.enabled -}}
{{- $faults = concat $faults (include "edge.meshFaults" . | fromYamlArray) -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n%s" (join "\n" $faults)) -}}
{{- end -}}
{{- end -}}
