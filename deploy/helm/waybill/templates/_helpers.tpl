{{- define "waybill.name" -}}
{{- if contains "waybill" .Release.Name -}}
{{- .Release.Name | trunc 24 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-waybill" .Release.Name | trunc 24 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels that choose a component's pods. Takes root and component, and account where there is one each. */ -}}
{{- define "waybill.selector" -}}
app.kubernetes.io/name: waybill
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .account }}
waybill/account: {{ .name }}
{{- end }}
{{- end -}}

{{- define "waybill.labels" -}}
{{ include "waybill.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "waybill.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The secrets of a component, by setting: the last of `from` wins, and the door has no database. */ -}}
{{- define "waybill.secrets" -}}
{{- $found := mergeOverwrite (dict) (deepCopy .root.Values.secrets) -}}
{{- range .own }}{{ $found = mergeOverwrite $found (deepCopy (.secrets | default dict)) }}{{ end -}}
{{- if eq .component "ingest" }}{{ $found = omit $found "DATABASE_URL" }}{{ end -}}
{{- if and (ne .component "ingest") (not (hasKey $found "DATABASE_URL")) -}}
{{- fail (printf "%s needs the secret DATABASE_URL: set secrets.DATABASE_URL, or its own" .component) -}}
{{- end -}}
{{ toYaml $found }}
{{- end -}}

{{- /* A container's environment. `told` is what the chart itself sets: nothing overrules it. */ -}}
{{- define "waybill.env" -}}
{{- $settings := mergeOverwrite (dict) (deepCopy .root.Values.settings) -}}
{{- range .own }}{{ $settings = mergeOverwrite $settings (deepCopy (.settings | default dict)) }}{{ end -}}
{{- $settings = mergeOverwrite $settings (dict "LOG_FORMAT" "json") (.told | default dict) -}}
{{- range $name, $value := $settings }}
- name: WAYBILL_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $name, $from := include "waybill.secrets" . | fromYaml }}
- name: WAYBILL_{{ $name }}_FILE
  value: /run/secrets/waybill/{{ $name }}
{{- end }}
{{- if .root.Values.certificates.kafka }}
- name: WAYBILL_KAFKA_SSL_CAFILE
  value: /etc/waybill/certificates/kafka.pem
{{- end }}
{{- if has .component (list "ingest" "processor") }}
{{- range $name, $value := .root.Values.opentelemetry }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* What every container has: image, command, environment, user, files, resources. */ -}}
{{- define "waybill.container" -}}
image: {{ include "waybill.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
env:
  {{- include "waybill.env" . | trim | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml .resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if include "waybill.secrets" . | fromYaml }}
  - {name: secrets, mountPath: /run/secrets/waybill, readOnly: true}
  {{- end }}
  {{- if include "waybill.certificates" .root }}
  - {name: certificates, mountPath: /etc/waybill/certificates, readOnly: true}
  {{- end }}
  {{- with .mounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* The probes of a service. A halted partition is told by /readyz, which restarts nothing. */ -}}
{{- define "waybill.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{- define "waybill.certificates" -}}
{{- range $name, $from := .Values.certificates }}
{{- with $from }}
- {{ if .secret }}secret{{ else }}configMap{{ end }}:
    name: {{ .secret | default .configMap }}
    items: [{key: {{ .key }}, path: {{ $name }}.pem}]
{{- end }}
{{- end }}
{{- end -}}

{{- /* What every pod has, but for its containers. */ -}}
{{- define "waybill.pod" -}}
automountServiceAccountToken: false
# Kubernetes would set WAYBILL_…_PORT for each service of ours, which are settings.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  {{- with include "waybill.secrets" . | fromYaml }}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range $name, $from := . }}
        - secret:
            name: {{ $from.secret }}
            items: [{key: {{ $from.key }}, path: {{ $name }}}]
        {{- end }}
  {{- end }}
  {{- with include "waybill.certificates" .root }}
  - name: certificates
    projected:
      defaultMode: 0444
      sources:
        {{- . | nindent 8 }}
  {{- end }}
{{- end -}}

{{- /* Pods of a component on different hosts, where that can be. */ -}}
{{- define "waybill.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "waybill.selector" . | nindent 8 }}
{{- end -}}
