{{/* The WAF as pods of its own (waf.mode: service). */}}
{{- define "edge.hasWafService" -}}
{{- and (eq .Values.waf.mode "service") .Values.waf.enabled .Values.proxy.waf.enabled -}}
{{- end -}}

{{- define "edge.wafSelector" -}}
{{- mergeOverwrite (include "edge.selector" . | fromYaml) (dict "app.kubernetes.io/component" "waf") | toYaml -}}
{{- end -}}

{{/* metadata: of an object of the WAF; takes (dict "root" $ "suffix" "waf") */}}
{{- define "edge.wafMetadata" -}}
{{- $metadata := include "edge.metadata" . | fromYaml -}}
{{- $_ := set $metadata.labels "app.kubernetes.io/component" "waf" -}}
{{- toYaml $metadata -}}
{{- end -}}

{{- define "edge.serviceSecretMount" -}}
{{- if and (eq (include "edge.hasWafService" .) "true") .Values.waf.service.secretName -}}
- name: waf-secret
  mountPath: /etc/quic-proxy-waf-secret
  readOnly: true
{{- end -}}
{{- end -}}

{{- define "edge.serviceSecretVolume" -}}
{{- if and (eq (include "edge.hasWafService" .) "true") .Values.waf.service.secretName -}}
- name: waf-secret
  secret:
    secretName: {{ .Values.waf.service.secretName }}
    defaultMode: 0440
    items:
      - key: secret
        path: secret
{{- end -}}
{{- end -}}
