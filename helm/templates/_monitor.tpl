{{/* What Prometheus and Grafana are given; all of it is off by default. */}}

{{/* metadata: of an object that may stand in another namespace and has labels of its own; takes
     (dict "root" $ "suffix" "…" "of" VALUES) */}}
{{- define "edge.monitorMetadata" -}}
{{- $annotations := default (dict) .of.annotations -}}
{{- include "edge.metadata" (dict "root" .root "suffix" .suffix "namespace" .of.namespace "annotations" $annotations "labels" .of.labels) -}}
{{- end -}}

{{/* Values that leave a monitor without anything to scrape. */}}
{{- define "edge.checkMonitor" -}}
{{- $metrics := .Values.metrics -}}
{{- $isHost := eq (include "edge.exposure" .) "hostNetwork" -}}
{{- $monitors := or $metrics.podMonitor.enabled $metrics.serviceMonitor.enabled $metrics.service.enabled -}}
{{- if and $metrics.podMonitor.enabled $metrics.serviceMonitor.enabled -}}
{{- fail "\nmetrics.podMonitor.enabled and metrics.serviceMonitor.enabled: each request would be counted twice\n  mend: leave one of them off" -}}
{{- end -}}
{{- if and $isHost $monitors (has $metrics.hostAddress (list "127.0.0.1" "localhost" "::1" "[::1]")) -}}
{{- fail (printf "\nmetrics.hostAddress: %s answers only on the node itself, so Prometheus would scrape nothing\n  mend: set it to 0.0.0.0 and keep port %d of the nodes from strangers, or leave the monitors off" $metrics.hostAddress (int $metrics.port)) -}}
{{- end -}}
{{- end -}}

{{/* What the endpoints of both monitors share; takes (dict "monitor" VALUES "relabelings" LIST) */}}
{{- define "edge.scrape" -}}
{{- $monitor := .monitor -}}
path: /metrics
scheme: http
{{- range $key := list "interval" "scrapeTimeout" }}
{{- with index $monitor $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- if $monitor.honorLabels }}
honorLabels: true
{{- end }}
{{- with concat (default (list) .relabelings) $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
