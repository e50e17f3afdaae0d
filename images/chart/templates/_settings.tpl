{{/* What the values mean together, and what is refused. */}}

{{- define "sandbox.check" -}}
{{- if gt (len .Release.Name) 40 }}{{ fail "the release's name is the pod's: at most 40 characters" }}{{ end }}
{{- if eq .Values.supervisor.topology "combined" }}
{{- if .Values.supervisor.nativeSidecar }}{{ fail "supervisor.nativeSidecar needs topology sidecar" }}{{ end }}
{{- if or .Values.supervisor.secrets .Values.supervisor.upstream.secret }}{{ fail "in the combined topology a secret would be in the workload's reach" }}{{ end }}
{{- end }}
{{- with .Values.supervisor.upstream }}
{{- if and (or .noProxy .byName .secret) (not .proxy) }}{{ fail "supervisor.upstream: noProxy, byName and secret need a proxy" }}{{ end }}
{{- end }}
{{- if and .Values.workspace.existingClaim (or .Values.workspace.size .Values.workspace.storageClass) }}
{{- fail "workspace.existingClaim is there already: it has size and class" }}
{{- end }}
{{- if and .Values.workspace.storageClass (not .Values.workspace.size) }}
{{- fail "workspace.storageClass needs workspace.size" }}
{{- end }}
{{- end }}

{{/* The Secrets that the sidecar gets, each once, as a JSON list. */}}
{{- define "sandbox.secrets" -}}
{{- $all := .Values.supervisor.secrets }}
{{- with .Values.supervisor.upstream.secret }}{{ $all = append $all . }}{{ end }}
{{- uniq $all | toJson }}
{{- end }}

{{- define "sandbox.labels" -}}
app.kubernetes.io/name: {{ .Release.Name }}
app.kubernetes.io/managed-by: sandbox-supervisor
{{- end }}

{{- define "sandbox.uid" }}{{ .Values.identity.uid | int64 }}{{ end }}
{{- define "sandbox.gid" }}{{ .Values.identity.gid | default .Values.identity.uid | int64 }}{{ end }}

{{/* Supplementary groups as a JSON list of numbers, sorted as numbers. */}}
{{- define "sandbox.groups" -}}
{{- $padded := list }}
{{- range .Values.identity.groups }}{{ $padded = append $padded (printf "%010d" (int64 .)) }}{{ end }}
{{- $sorted := list }}
{{- range sortAlpha $padded }}{{ $sorted = append $sorted (. | trimAll "\"" | trimPrefix "0000000000" | atoi) }}{{ end }}
{{- toJson $sorted }}
{{- end }}

{{/* A text as Kubernetes hands it on unchanged: escaped only where it would replace something. */}}
{{- define "sandbox.text" -}}
{{- $text := .text }}
{{- $changed := or (contains "$$" $text) (contains "$(KUBERNETES_" $text) }}
{{- range .root.Values.agent.env }}{{ if contains (printf "$(%s)" .name) $text }}{{ $changed = true }}{{ end }}{{ end }}
{{- if $changed }}{{ $text = replace "$" "$$" $text }}{{ end }}
{{- toJson $text }}
{{- end }}

{{- define "sandbox.launcher" -}}
{{- if eq .Values.supervisor.sideload "image-volume" }}/opt/sandbox-supervisor{{ end -}}
/opt/sandbox-supervisor/sandbox-supervisor
{{- end }}

{{/* securityContext of uid 0 with exactly .add */}}
{{- define "sandbox.asRoot" -}}
runAsUser: 0
runAsGroup: 0
runAsNonRoot: false
{{ include "sandbox.confined" . }}
{{- end }}

{{/* securityContext of .uid and .gid without any capability: Pod Security "restricted" */}}
{{- define "sandbox.unprivileged" -}}
runAsUser: {{ .uid }}
runAsGroup: {{ .gid }}
runAsNonRoot: true
{{ include "sandbox.confined" . }}
{{- end }}

{{- define "sandbox.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- if .add }}
  add: {{ toJson .add }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}
