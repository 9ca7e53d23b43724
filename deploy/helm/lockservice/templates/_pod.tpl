{{/* The probes of gRPC speak no TLS; under TLS the port for operators is asked the same. */}}
{{- define "lockservice.probe" -}}
{{- if .tls -}}
httpGet:
  path: {{ .path }}
  port: ops
{{- else -}}
grpc:
  port: 50051
  service: {{ .service }}
{{- end -}}
{{- end }}

{{/* Secrets by the folder of /etc/lockservice that they are mounted at. */}}
{{- define "lockservice.secrets" -}}
{{- with .Values.tls.secret }}
tls: {{ . }}
{{- end }}
{{- with .Values.auth.secret }}
credentials: {{ . }}
{{- end }}
{{- with .Values.shardsSecret }}
shards: {{ . }}
{{- end }}
{{- end }}
