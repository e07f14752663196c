{{/* The pod of the proxy, the same for both kinds. */}}
{{- define "edge.pod" -}}
{{- $exposure := include "edge.exposure" . -}}
{{- $isHost := eq $exposure "hostNetwork" -}}
{{- $proxy := .Values.proxy -}}
metadata:
  annotations:
    checksum/restart: {{ include "edge.unchangeable" . | sha256sum }}
    {{- if eq .Values.quic.serverId "aws" }}
    service.beta.kubernetes.io/aws-load-balancer-quic-enabled-containers: proxy
    {{- end }}
    {{- with $proxy.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "edge.podLabels" . | nindent 4 }}
    {{- with $proxy.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "edge.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if kindIs "bool" .Values.hostUsers }}
  {{- if and $isHost (not .Values.hostUsers) }}
  {{- fail "\nhostUsers: false and the network of the node exclude each other in Kubernetes\n  mend: set hostUsers to null, or use another exposure" }}
  {{- end }}
  hostUsers: {{ .Values.hostUsers }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- if $isHost }}
  hostNetwork: true
  {{- end }}
  {{- $dns := ternary .Values.daemonset.dnsPolicy "ClusterFirst" (eq $proxy.kind "daemonset") }}
  {{- /* On the node's network, ClusterFirst alone would ask the node's resolver. */}}
  dnsPolicy: {{ ternary "ClusterFirstWithHostNet" $dns (and $isHost (eq $dns "ClusterFirst")) }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- $root := include "edge.needsRoot" . }}
    {{- $pod := dict "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") }}
    {{- toYaml (mergeOverwrite $pod .Values.podSecurityContext) | nindent 4 }}
  {{- with $proxy.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: proxy
      image: {{ include "edge.image" . }}
      imagePullPolicy: {{ include "edge.pullPolicy" . }}
      args:
        - run
        - --config
        - /etc/quic-proxy-waf/edge.yaml
        {{- with $proxy.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        - name: EDGE_ADMIN
          value: unix:/run/quic-proxy-waf/admin.sock
        {{- if hasPrefix "annotation:" .Values.quic.serverId }}
        - name: POD_QUIC_SERVER_ID
          valueFrom:
            fieldRef:
              fieldPath: metadata.annotations['{{ trimPrefix "annotation:" .Values.quic.serverId }}']
        {{- end }}
        {{- if eq (include "edge.hasNeighbours" .) "true" }}
        - name: EDGE_QUIC_NEIGHBOURS_ADDRESS
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        {{- end }}
        {{- with $proxy.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $proxy.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if not $isHost }}
      ports:
        {{- $isPort := eq $exposure "hostPort" }}
        - name: http
          containerPort: {{ include "edge.listenPort" (dict "root" $ "port" "http") }}
          protocol: TCP
          {{- if $isPort }}
          hostPort: {{ $proxy.ports.http }}
          {{- with $proxy.ports.hostIP }}
          hostIP: {{ . | quote }}
          {{- end }}
          {{- end }}
        - name: https
          containerPort: {{ include "edge.listenPort" (dict "root" $ "port" "https") }}
          protocol: TCP
          {{- if $isPort }}
          hostPort: {{ $proxy.ports.https }}
          {{- with $proxy.ports.hostIP }}
          hostIP: {{ . | quote }}
          {{- end }}
          {{- end }}
        - name: http3
          containerPort: {{ include "edge.listenPort" (dict "root" $ "port" "https") }}
          protocol: UDP
          {{- if $isPort }}
          hostPort: {{ $proxy.ports.https }}
          {{- with $proxy.ports.hostIP }}
          hostIP: {{ . | quote }}
          {{- end }}
          {{- end }}
        {{- if eq (include "edge.hasNeighbours" .) "true" }}
        - name: neighbours
          containerPort: {{ .Values.quic.neighbours.port }}
          protocol: UDP
        {{- end }}
        - name: status
          containerPort: {{ .Values.metrics.port }}
          protocol: TCP
      {{- end }}
      securityContext:
        {{- $bare := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "runAsNonRoot" (not $root) "runAsUser" (ternary 0 65532 (eq $root "true")) "runAsGroup" (ternary 0 65532 (eq $root "true")) "capabilities" (dict "drop" (list "ALL")) }}
        {{- if $root }}{{ $_ := set $bare.capabilities "add" (list "NET_BIND_SERVICE") }}{{ end }}
        {{- toYaml (mergeOverwrite $bare .Values.securityContext) | nindent 8 }}
      {{- include "edge.probes" . | nindent 6 }}
      {{- with $proxy.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml $proxy.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/quic-proxy-waf
          readOnly: true
        {{- include "edge.tlsMounts" . | nindent 8 }}
        {{- with include "edge.serviceSecretMount" . }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- if $proxy.mesh }}
        - name: mesh
          mountPath: /etc/edge-mesh
          readOnly: true
        {{- end }}
        - name: state
          mountPath: /var/lib/quic-proxy-waf
        - name: cache
          mountPath: /var/cache/quic-proxy-waf
        - name: tmp
          mountPath: /tmp
        - name: run
          mountPath: /run/quic-proxy-waf
        {{- with $proxy.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $proxy.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "edge.fullname" . }}-config
    {{- include "edge.tlsVolumes" . | nindent 4 }}
    {{- with include "edge.serviceSecretVolume" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if $proxy.mesh }}
    - name: mesh
      configMap:
        name: {{ include "edge.meshName" . }}
        items:
          - key: names.json
            path: names.json
        optional: true
    {{- end }}
    {{- range list "state" "cache" "tmp" }}
    - name: {{ . }}
      emptyDir:
        sizeLimit: 128Mi
    {{- end }}
    - name: run
      emptyDir:
        medium: Memory
        sizeLimit: 1Mi
    {{- with $proxy.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- /* Pods of a Deployment avoid each other's nodes, unless something else is wanted. */}}
  {{- $isFree := not (or .Values.affinity .Values.topologySpreadConstraints) }}
  {{- if and (eq $proxy.kind "deployment") $isFree }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "edge.selector" . | nindent 16 }}
  {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "runtimeClassName" "dnsConfig" "hostAliases" }}
  {{- with index $.Values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* On the node's own network two pods may share the ports for a while: each is asked by its socket. */}}
{{- define "edge.probes" -}}
{{- $isHost := eq (include "edge.exposure" .) "hostNetwork" -}}
{{- $ready := dict "exec" (dict "command" (list "edge" "health")) -}}
{{- $alive := dict "exec" (dict "command" (list "edge" "health" "--live")) -}}
{{- /* A command costs a start of Node each time, on a node that may be busy. */ -}}
{{- $startup := dict "periodSeconds" 5 "failureThreshold" 36 "timeoutSeconds" 10 -}}
{{- $readiness := dict "periodSeconds" 10 "failureThreshold" 2 "timeoutSeconds" 10 -}}
{{- $liveness := dict "periodSeconds" 30 "failureThreshold" 3 "timeoutSeconds" 15 -}}
{{- if not $isHost -}}
{{- /* Behind a Service a pod that ends serves on, and kube-proxy may send to it when it has no other
     (KEP-1669), while its readiness holds: its end is known without it. */ -}}
{{- $isService := has (include "edge.exposure" .) (list "service" "nodeAddress") -}}
{{- $ready = dict "httpGet" (dict "path" (ternary "/readyz?exclude=not-draining" "/readyz" $isService) "port" "status") -}}
{{- $alive = dict "httpGet" (dict "path" "/livez" "port" "status") -}}
{{- $startup = dict "periodSeconds" 2 "failureThreshold" 90 "timeoutSeconds" 5 -}}
{{- $readiness = dict "periodSeconds" 2 "failureThreshold" 2 "timeoutSeconds" 5 -}}
{{- $_ := set $liveness "periodSeconds" 10 -}}
{{- end -}}
startupProbe:
  {{- toYaml (mergeOverwrite (mergeOverwrite $startup (deepCopy $ready)) .Values.startupProbe) | nindent 2 }}
readinessProbe:
  {{- toYaml (mergeOverwrite (mergeOverwrite $readiness (deepCopy $ready)) .Values.readinessProbe) | nindent 2 }}
livenessProbe:
  {{- toYaml (mergeOverwrite (mergeOverwrite $liveness $alive) .Values.livenessProbe) | nindent 2 }}
{{- end -}}

{{/* Whole folders and no single files: only those follow a Secret that changes. */}}
{{- define "edge.tlsMounts" -}}
{{- $tls := .Values.proxy.tls -}}
- name: tls-cert
  mountPath: {{ dir $tls.certFile }}
  readOnly: true
{{- if ne (dir $tls.certFile) (dir $tls.keyFile) }}
- name: tls-key
  mountPath: {{ dir $tls.keyFile }}
  readOnly: true
{{- end }}
{{- range $index, $name := $tls.extraSecretNames }}
- name: tls-extra-{{ $index }}
  mountPath: /etc/quic-proxy-waf-tls/{{ $name }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "edge.tlsVolumes" -}}
{{- $tls := .Values.proxy.tls -}}
{{- $together := eq (dir $tls.certFile) (dir $tls.keyFile) -}}
- name: tls-cert
  secret:
    secretName: {{ $tls.secretName }}
    optional: {{ empty $tls.extraSecretNames }}
    defaultMode: 0440
    items:
      - key: tls.crt
        path: {{ base $tls.certFile }}
      {{- if $together }}
      - key: tls.key
        path: {{ base $tls.keyFile }}
      {{- end }}
{{- if not $together }}
- name: tls-key
  secret:
    secretName: {{ $tls.secretName }}
    optional: {{ empty $tls.extraSecretNames }}
    defaultMode: 0440
    items:
      - key: tls.key
        path: {{ base $tls.keyFile }}
{{- end }}
{{- range $index, $name := $tls.extraSecretNames }}
- name: tls-extra-{{ $index }}
  secret:
    secretName: {{ $name }}
    defaultMode: 0440
{{- end }}
{{- end -}}
