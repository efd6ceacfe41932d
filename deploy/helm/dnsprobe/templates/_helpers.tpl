{{- define "dnsprobe.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "dnsprobe.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "dnsprobe.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "dnsprobe.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dnsprobe.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dnsprobe.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dnsprobe.labels" -}}
{{ include "dnsprobe.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "dnsprobe.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dnsprobe.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "dnsprobe.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Where `serve` listens; the kubelet puts the node's address in. */}}
{{- define "dnsprobe.listen" -}}
{{- if .Values.listen.allInterfaces -}}
[::]:{{ .Values.listen.port }}
{{- else if .Values.listen.ipv6 -}}
[$(HOST_IP)]:{{ .Values.listen.port }}
{{- else -}}
$(HOST_IP):{{ .Values.listen.port }}
{{- end -}}
{{- end -}}

{{/* The node's directories as lines "NAME PATH". */}}
{{- define "dnsprobe.hostDirectories" -}}
proc /proc
cgroup /sys/fs/cgroup
pod-logs /var/log/pods
container-logs /var/log/containers
{{- range .Values.host.runtimes }}
{{- if eq . "containerd" }}
containerd /run/containerd/io.containerd.runtime.v2.task
{{- else if eq . "k3s" }}
k3s /run/k3s/containerd/io.containerd.runtime.v2.task
{{- else if eq . "crio" }}
crio-run /run/containers/storage/overlay-containers
crio-state /var/lib/containers/storage/overlay-containers
{{- else if eq . "docker" }}
docker /var/lib/docker/containers
{{- end }}
{{- end }}
{{- end -}}

{{/* What `--config` reads. Texts, numbers, truth values and lists of them are the same in JSON and TOML. */}}
{{- define "dnsprobe.settings" -}}
{{- range $name, $value := .Values.settings }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end -}}
