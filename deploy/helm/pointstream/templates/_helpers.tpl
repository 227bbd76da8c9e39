{{- define "pointstream.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pointstream.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "pointstream.labels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "pointstream.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pointstream.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pointstream.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* How a container reaches the brokers: variables. Takes what `kafka` of the values is. */}}
{{- define "pointstream.kafkaEnv" -}}
- name: KAFKA_BOOTSTRAP_SERVERS
  value: {{ .bootstrapServers | quote }}
- name: POINTSTREAM_KAFKA_SECURITY_PROTOCOL
  value: {{ .securityProtocol }}
{{- if .ca.secret }}
- name: POINTSTREAM_KAFKA_CA_FILE
  value: /etc/pointstream/kafka-ca/{{ .ca.key }}
{{- end }}
{{- if .client.secret }}
- name: POINTSTREAM_KAFKA_CLIENT_CERT_FILE
  value: /etc/pointstream/kafka-client/{{ .client.certKey }}
- name: POINTSTREAM_KAFKA_CLIENT_KEY_FILE
  value: /etc/pointstream/kafka-client/{{ .client.keyKey }}
{{- end }}
{{- with .sasl }}
{{- if .mechanism }}
- name: POINTSTREAM_KAFKA_SASL_MECHANISM
  value: {{ .mechanism }}
{{- if eq .mechanism "OAUTHBEARER" }}
- name: POINTSTREAM_KAFKA_OAUTH_TOKEN_URL
  value: {{ required "kafka.sasl.oauth.tokenUrl is needed for OAUTHBEARER" .oauth.tokenUrl | quote }}
- name: POINTSTREAM_KAFKA_OAUTH_CLIENT_ID
  value: {{ required "kafka.sasl.oauth.clientId is needed for OAUTHBEARER" .oauth.clientId | quote }}
- name: POINTSTREAM_KAFKA_OAUTH_CLIENT_SECRET_FILE
  value: /etc/pointstream/kafka-oauth/{{ .oauth.key }}
{{- if .oauth.scope }}
- name: POINTSTREAM_KAFKA_OAUTH_SCOPE
  value: {{ .oauth.scope | quote }}
{{- end }}
{{- else }}
- name: POINTSTREAM_KAFKA_USERNAME
  value: {{ required (printf "kafka.sasl.username is needed for %s" .mechanism) .username | quote }}
- name: POINTSTREAM_KAFKA_PASSWORD_FILE
  value: /etc/pointstream/kafka-password/{{ .password.key }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The secrets that these variables name, by volume: a map that `fromYaml` reads. */}}
{{- define "pointstream.kafkaSecrets" -}}
{{- with .ca.secret }}
kafka-ca: {{ . | quote }}
{{- end }}
{{- with .client.secret }}
kafka-client: {{ . | quote }}
{{- end }}
{{- if eq .sasl.mechanism "OAUTHBEARER" }}
kafka-oauth: {{ required "kafka.sasl.oauth.secret is needed for OAUTHBEARER" .sasl.oauth.secret | quote }}
{{- else if .sasl.mechanism }}
kafka-password: {{ required (printf "kafka.sasl.password.secret is needed for %s" .sasl.mechanism) .sasl.password.secret | quote }}
{{- end }}
{{- end -}}

{{- define "pointstream.secretVolumes" -}}
{{- range $name, $secret := . }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "pointstream.secretMounts" -}}
{{- range $name, $secret := . }}
- name: {{ $name }}
  mountPath: /etc/pointstream/{{ $name }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* A pod that runs one command and ends: takes the root, `kafka`, `command` and `component`. */}}
{{- define "pointstream.commandPod" -}}
{{- $secrets := include "pointstream.kafkaSecrets" .kafka | fromYaml -}}
metadata:
  labels:
    {{- include "pointstream.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  restartPolicy: OnFailure
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 4 }}
  containers:
    - name: pointstream
      image: {{ include "pointstream.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{- toYaml .command | nindent 8 }}
      env:
        {{- include "pointstream.kafkaEnv" .kafka | nindent 8 }}
        {{- range $name, $value := .root.Values.settings }}
        - name: POINTSTREAM_{{ upper $name }}
          value: {{ include "pointstream.scalar" $value | quote }}
        {{- end }}
      resources:
        requests: {cpu: 100m, memory: 256Mi}
        limits: {memory: 512Mi}
      securityContext: {{- toYaml .root.Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- with include "pointstream.secretMounts" $secrets | trim }}{{ . | nindent 8 }}{{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- with include "pointstream.secretVolumes" $secrets | trim }}{{ . | nindent 4 }}{{- end }}
{{- end -}}

{{/* A number of the values is a float; 6e+04 is no setting. */}}
{{- define "pointstream.scalar" -}}
{{- if kindIs "float64" . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}
