{{- define "safelight.selected" -}}
app.kubernetes.io/name: safelight
app.kubernetes.io/instance: {{ trimPrefix "safelight-" .Chart.Name }}
{{- end }}

{{- define "safelight.operated" -}}
{{- with .Values.monitoring.release }}
release: {{ . | quote }}
{{- end }}
{{- with .Values.monitoring.operatorLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Values that contradict each other: the schema holds each value alone to its form. */}}
{{- define "safelight.check" -}}
{{- with .Values.records }}
{{- if and (eq .kind "postgresql") (not .secret) }}
{{- fail "records.secret is missing: it names the Secret with the database's url." }}
{{- end }}
{{- if and (ne .kind "postgresql") .secret }}
{{- fail (printf "records.secret has no use with records.kind %s." .kind) }}
{{- end }}
{{- if and (ne .kind "volume") .claim }}
{{- fail (printf "records.claim has no use with records.kind %s." .kind) }}
{{- end }}
{{- if and .claim (gt (int $.Values.replicas) 1) }}
{{- fail "records.claim has room for one pod: set replicas to 1, or use postgresql." }}
{{- end }}
{{- end }}
{{- if gt (int .Values.resources.memoryGib) (int .Values.resources.memoryLimitGib) }}
{{- fail "resources.memoryGib is above resources.memoryLimitGib." }}
{{- end }}
{{- range $label, $_ := .Values.monitoring.operatorLabels }}
{{- if has $label (list "release" "app.kubernetes.io/name" "app.kubernetes.io/instance") }}
{{- fail (printf "monitoring.operatorLabels cannot set %s, which is set already." $label) }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.enabled .Values.monitoring.requireOperator (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
{{- fail "The cluster has no Prometheus Operator. Install it, or set monitoring.enabled to false. (Without a cluster, as in `helm template`: monitoring.requireOperator=false.)" }}
{{- end }}
{{- end }}
