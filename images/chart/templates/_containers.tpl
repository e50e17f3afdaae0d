{{/* The containers. What each is for, and why it has its capabilities: supervisor/deploy/containers.py. */}}

{{- define "sandbox.ours" -}}
image: {{ .Values.supervisor.image | quote }}
imagePullPolicy: {{ .Values.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{- define "sandbox.initResources" -}}
requests: {cpu: 50m, memory: 64Mi}
limits: {cpu: "1", memory: 256Mi}
{{- end }}

{{- define "sandbox.writableMounts" -}}
- {name: {{ .Release.Name }}-workspace, mountPath: /sandbox}
- {name: {{ .Release.Name }}-tmp, mountPath: /tmp}
- {name: {{ .Release.Name }}-shm, mountPath: /dev/shm}
{{- range $number, $path := .Values.agent.writable }}
- {name: {{ $.Release.Name }}-writable-{{ $number }}, mountPath: {{ $path }}}
{{- end }}
{{- end }}

{{- define "sandbox.install" -}}
- name: install
  {{- include "sandbox.ours" . | nindent 2 }}
  command: [/opt/sandbox-supervisor/sandbox-supervisor, install, /install]
  securityContext: {{- include "sandbox.asRoot" dict | nindent 4 }}
  resources: {{- include "sandbox.initResources" . | nindent 4 }}
  volumeMounts:
  - {name: {{ .Release.Name }}-runtime, mountPath: /install}
{{- end }}

{{- define "sandbox.volumesInit" -}}
- name: volumes-init
  {{- include "sandbox.ours" . | nindent 2 }}
  command:
  - /opt/sandbox-supervisor/sandbox-supervisor
  - volumes-init
  - --uid
  - {{ include "sandbox.uid" . | quote }}
  - --gid
  - {{ include "sandbox.gid" . | quote }}
  - --workdir
  - /sandbox
  - /tmp
  - /dev/shm
  {{- range .Values.agent.writable }}
  - {{ . }}
  {{- end }}
  securityContext: {{- include "sandbox.asRoot" (dict "add" (list "CHOWN" "DAC_READ_SEARCH" "FOWNER")) | nindent 4 }}
  resources: {{- include "sandbox.initResources" . | nindent 4 }}
  volumeMounts: {{- include "sandbox.writableMounts" . | nindent 2 }}
{{- end }}

{{- define "sandbox.seed" -}}
- name: seed
  image: {{ .Values.agent.image | quote }}
  imagePullPolicy: {{ .Values.pullPolicy }}
  command: [{{ include "sandbox.launcher" . }}, seed, /sandbox, /run/sandbox-workspace]
  workingDir: /
  securityContext:
  {{- include "sandbox.unprivileged" (dict "uid" (include "sandbox.uid" .) "gid" (include "sandbox.gid" .)) | nindent 4 }}
  resources: {{- include "sandbox.initResources" . | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
  {{- if ne .Values.supervisor.sideload "baked" }}
  - {name: {{ .Release.Name }}-runtime, mountPath: /opt/sandbox-supervisor, readOnly: true}
  {{- end }}
  - {name: {{ .Release.Name }}-workspace, mountPath: /run/sandbox-workspace}
{{- end }}

{{- define "sandbox.netInit" -}}
{{- $groups := include "sandbox.groups" . | fromJsonArray -}}
- name: net-init
  {{- include "sandbox.ours" . | nindent 2 }}
  command:
  - /opt/sandbox-supervisor/sandbox-supervisor
  - net-init
  - --policy
  - /run/sandbox-policy/policy.yaml
  - --egress-uid
  - "64998"
  - --uid
  - {{ include "sandbox.uid" . | quote }}
  - --gid
  - {{ include "sandbox.gid" . | quote }}
  {{- if $groups }}
  - --groups
  - {{ include "sandbox.groups" . | trimAll "[]" | quote }}
  {{- end }}
  - --shared
  - /run/sandbox-supervisor
  securityContext: {{- include "sandbox.asRoot" (dict "add" (list "CHOWN" "FOWNER" "NET_ADMIN")) | nindent 4 }}
  resources: {{- include "sandbox.initResources" . | nindent 4 }}
  volumeMounts:
  - {name: {{ .Release.Name }}-policy, mountPath: /run/sandbox-policy, readOnly: true}
  - {name: {{ .Release.Name }}-shared, mountPath: /run/sandbox-supervisor}
{{- end }}

{{- define "sandbox.upstream" -}}
{{- with .Values.supervisor.upstream }}
{{- if .resolver }}
- --resolver
- {{ .resolver | quote }}
{{- end }}
{{- if .proxy }}
- --upstream-proxy
- {{ .proxy | quote }}
{{- end }}
{{- if .secret }}
- --upstream-proxy-credentials
- /run/sandbox-secrets/{{ .secret }}/{{ .secretKey }}
{{- end }}
{{- if .noProxy }}
- --no-proxy
- {{ .noProxy | quote }}
{{- end }}
{{- if .byName }}
- --upstream-proxy-names
{{- end }}
{{- end }}
{{- end }}

{{- define "sandbox.probe" -}}
exec:
  command: [{{ .program }}, status, {{ range .place }}{{ . }}, {{ end }}--probe, {{ .question }}]
timeoutSeconds: 5
{{- end }}

{{- define "sandbox.probes" -}}
startupProbe:
  {{- include "sandbox.probe" (merge (dict "question" "ready") .) | nindent 2 }}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  {{- include "sandbox.probe" (merge (dict "question" "ready") .) | nindent 2 }}
  periodSeconds: 10
livenessProbe:
  {{- include "sandbox.probe" (merge (dict "question" "live") .) | nindent 2 }}
  periodSeconds: 10
  failureThreshold: 6
{{- end }}

{{- define "sandbox.sidecar" -}}
- name: sidecar
  {{- include "sandbox.ours" . | nindent 2 }}
  {{- if .Values.supervisor.nativeSidecar }}
  restartPolicy: Always
  {{- end }}
  command:
  - /opt/sandbox-supervisor/sandbox-supervisor
  - sidecar
  - --policy
  - /run/sandbox-policy/policy.yaml
  - --shared
  - /run/sandbox-supervisor
  - --egress-uid
  - "64998"
  - --uid
  - {{ include "sandbox.uid" . | quote }}
  - --gid
  - {{ include "sandbox.gid" . | quote }}
  {{- include "sandbox.upstream" . | nindent 2 }}
  securityContext:
  {{- if .Values.supervisor.binaryIdentity }}
  {{- include "sandbox.asRoot" (dict "add" (list "KILL" "NET_ADMIN" "SETGID" "SETPCAP" "SETUID" "SYS_PTRACE")) | nindent 4 }}
  {{- else }}
  {{- include "sandbox.unprivileged" (dict "uid" 64998 "gid" 64998) | nindent 4 }}
  {{- end }}
  resources:
    requests: {cpu: 50m, memory: 96Mi}
    limits: {cpu: "1", memory: 512Mi}
  {{- include "sandbox.probes" (dict "program" "/opt/sandbox-supervisor/sandbox-supervisor" "place" (list "--shared" "/run/sandbox-supervisor")) | nindent 2 }}
  volumeMounts:
  - {name: {{ .Release.Name }}-policy, mountPath: /run/sandbox-policy, readOnly: true}
  - {name: {{ .Release.Name }}-shared, mountPath: /run/sandbox-supervisor}
  {{- range $number, $secret := include "sandbox.secrets" . | fromJsonArray }}
  - {name: {{ $.Release.Name }}-secret-{{ $number }}, mountPath: /run/sandbox-secrets/{{ $secret }}, readOnly: true}
  {{- end }}
{{- end }}

{{- define "sandbox.agent" -}}
{{- $combined := eq .Values.supervisor.topology "combined" -}}
- name: agent
  image: {{ .Values.agent.image | quote }}
  imagePullPolicy: {{ .Values.pullPolicy }}
  command:
  - {{ include "sandbox.launcher" . }}
  - run
  - --mode
  {{- if $combined }}
  - full
  - --policy
  - /run/sandbox-policy/policy.yaml
  {{- include "sandbox.upstream" . | nindent 2 }}
  {{- else }}
  - network-only
  - --shared
  - /run/sandbox-supervisor
  {{- end }}
  - --workdir
  - /sandbox
  - --uid
  - {{ include "sandbox.uid" . | quote }}
  - --gid
  - {{ include "sandbox.gid" . | quote }}
  - --groups
  - {{ include "sandbox.groups" . | trimAll "[]" | quote }}
  {{- range .Values.agent.env }}
  - --env
  - {{ .name | quote }}
  {{- end }}
  - "--"
  {{- range .Values.agent.command }}
  - {{ include "sandbox.text" (dict "root" $ "text" .) }}
  {{- end }}
  workingDir: /
  {{- with .Values.agent.env }}
  env:
  {{- range . }}
  - name: {{ .name | quote }}
    value: {{ include "sandbox.text" (dict "root" $ "text" .value) }}
  {{- end }}
  {{- end }}
  securityContext:
  {{- if $combined }}
  {{- $add := list "CHOWN" "DAC_READ_SEARCH" "KILL" "NET_ADMIN" "SETGID" "SETPCAP" "SETUID" "SYS_ADMIN" "SYS_CHROOT" }}
  {{- if .Values.supervisor.binaryIdentity }}{{ $add = append $add "SYS_PTRACE" }}{{ end }}
  {{- include "sandbox.asRoot" (dict "add" $add) | nindent 4 }}
  {{- else }}
  {{- include "sandbox.unprivileged" (dict "uid" (include "sandbox.uid" .) "gid" (include "sandbox.gid" .)) | nindent 4 }}
  {{- end }}
  resources:
    requests: {cpu: {{ .Values.resources.cpuRequest | quote }}, memory: {{ .Values.resources.memoryRequest | quote }}}
    limits: {cpu: {{ .Values.resources.cpu | quote }}, memory: {{ .Values.resources.memory | quote }}}
  {{- if $combined }}
  {{- include "sandbox.probes" (dict "program" (include "sandbox.launcher" .) "place" list) | nindent 2 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
  {{- if ne .Values.supervisor.sideload "baked" }}
  - {name: {{ .Release.Name }}-runtime, mountPath: /opt/sandbox-supervisor, readOnly: true}
  {{- end }}
  {{- if $combined }}
  - {name: {{ .Release.Name }}-policy, mountPath: /run/sandbox-policy, readOnly: true}
  {{- else }}
  - {name: {{ .Release.Name }}-shared, mountPath: /run/sandbox-supervisor, readOnly: true}
  {{- end }}
  {{- include "sandbox.writableMounts" . | nindent 2 }}
{{- end }}
