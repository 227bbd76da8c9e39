# Kafka Connect with the sinks of deploy/connect, which is its context. Run by compose.yaml.
FROM maven:3.9.11-eclipse-temurin-21 AS jars
WORKDIR /build
COPY pom.xml ./
RUN mvn --batch-mode --quiet dependency:copy-dependencies -DoutputDirectory=lib

FROM eclipse-temurin:21.0.8_9-jre-noble
WORKDIR /opt/connect
COPY --from=jars /build/lib lib
COPY worker.properties balance-changes.json crm-sync.json mall-sync.json ./
USER 10001:10001
# The connectors take the password from the environment; here it comes as a file.
ENTRYPOINT ["bash", "-c", "SINK_DATABASE_PASSWORD=\"$(cat \"$SINK_DATABASE_PASSWORD_FILE\")\" exec java -cp 'lib/*' org.apache.kafka.connect.cli.ConnectStandalone worker.properties balance-changes.json crm-sync.json mall-sync.json"]
