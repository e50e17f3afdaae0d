{{- define "sandbox.volumes" -}}
{{- if eq .Values.supervisor.sideload "init" -}}
- {name: {{ .Release.Name }}-runtime, emptyDir: {sizeLimit: 256Mi}}
{{ else if eq .Values.supervisor.sideload "image-volume" -}}
- name: {{ .Release.Name }}-runtime
  image: {reference: {{ .Values.supervisor.image | quote }}, pullPolicy: {{ .Values.pullPolicy }}}
{{ end -}}
- {name: {{ .Release.Name }}-policy, configMap: {name: {{ .Release.Name }}-policy, optional: false}}
{{- if eq .Values.supervisor.topology "sidecar" }}
- {name: {{ .Release.Name }}-shared, emptyDir: {sizeLimit: 16Mi, medium: Memory}}
{{- end }}
{{- with .Values.workspace }}
{{- if .existingClaim }}
- {name: {{ $.Release.Name }}-workspace, persistentVolumeClaim: {claimName: {{ .existingClaim | quote }}}}
{{- else if .size }}
- {name: {{ $.Release.Name }}-workspace, persistentVolumeClaim: {claimName: {{ $.Release.Name }}-workspace}}
{{- else }}
- {name: {{ $.Release.Name }}-workspace, emptyDir: {sizeLimit: 2Gi}}
{{- end }}
{{- end }}
- {name: {{ .Release.Name }}-tmp, emptyDir: {sizeLimit: 1Gi}}
- {name: {{ .Release.Name }}-shm, emptyDir: {sizeLimit: 64Mi, medium: Memory}}
{{- range $number, $path := .Values.agent.writable }}
- {name: {{ $.Release.Name }}-writable-{{ $number }}, emptyDir: {sizeLimit: 1Gi}}
{{- end }}
{{- range $number, $secret := include "sandbox.secrets" . | fromJsonArray }}
- {name: {{ $.Release.Name }}-secret-{{ $number }}, secret: {secretName: {{ $secret | quote }}, optional: false, defaultMode: {{ ternary 256 292 $.Values.supervisor.binaryIdentity }}}}
{{- end }}
{{- end }}
