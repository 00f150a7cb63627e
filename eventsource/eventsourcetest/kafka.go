package eventsourcetest

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka is Apache Kafka, one node that is its own controller. It lets everybody in at Plain, and those who log in by the
// mechanism PLAIN, over TLS, at Login: lambda, with the password secret.
type Kafka struct {
	Process      *Process
	Plain, Login string
	Root         string // the certificate of Login in PEM
	More         []string
}

// KafkaListener is one more listener, with TLS and a login. Settings are its own, without the prefix that says so.
type KafkaListener struct{ Settings, Flags []string }

// StartKafka starts one, with more listeners, whose addresses are in More. What its topics hold survives a kill.
func StartKafka(t testing.TB, more ...KafkaListener) *Kafka {
	t.Helper()
	jars := Maven(t, "org.apache.kafka:kafka_2.13:4.4.0", "org.slf4j:slf4j-simple:1.7.36")
	dir := Dir(t)
	controller := fmt.Sprintf("127.0.0.1:%d", Port(t))
	b := &Kafka{Plain: fmt.Sprintf("127.0.0.1:%d", Port(t)), Login: fmt.Sprintf("127.0.0.1:%d", Port(t))}
	pair, root := Certificate(t)
	b.Root = root
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	store := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	data := filepath.Join(dir, "data")
	listeners, protocols := "PLAINTEXT://"+b.Plain+",SASL_SSL://"+b.Login, "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
	args, settingsOfMore := []string{"java"}, []string{}
	for i, l := range more {
		name, at := fmt.Sprintf("MORE%d", i), fmt.Sprintf("127.0.0.1:%d", Port(t))
		b.More = append(b.More, at)
		listeners, protocols = listeners+","+name+"://"+at, protocols+","+name+":SASL_SSL"
		prefix := "listener.name." + strings.ToLower(name) + "."
		for _, s := range append(l.Settings, "ssl.keystore.type=PEM", "ssl.keystore.location="+filepath.Join(dir, "server.pem")) {
			settingsOfMore = append(settingsOfMore, prefix+s)
		}
		args = append(args, l.Flags...)
	}
	settings := filepath.Join(dir, "server.properties")
	for file, text := range map[string]string{
		filepath.Join(dir, "server.pem"): string(store) + root,
		// What kafka-storage.sh format writes, without a second start of Java.
		filepath.Join(data, "meta.properties"): "version=1\nnode.id=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\ndirectory.id=9RPQdFWETRuGdmgqkVpMLw\n",
		settings: strings.Join([]string{
			"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller, "log.dirs=" + data,
			"listeners=" + listeners + ",CONTROLLER://" + controller, "advertised.listeners=" + listeners,
			"controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAINTEXT",
			"listener.security.protocol.map=" + protocols,
			"sasl.enabled.mechanisms=PLAIN",
			`listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_lambda="secret";`,
			"listener.name.sasl_ssl.ssl.keystore.type=PEM", "listener.name.sasl_ssl.ssl.keystore.location=" + filepath.Join(dir, "server.pem"),
			"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1", "share.coordinator.state.topic.num.partitions=1",
			"group.share.min.record.lock.duration.ms=1000", "group.share.assignment.interval.ms=0",
			"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=1",
			"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0",
			"auto.create.topics.enable=false", strings.Join(settingsOfMore, "\n"), "",
		}, "\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ready, err := kgo.NewClient(kgo.SeedBrokers(b.Plain))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ready.Close)
	b.Process = Launch(t, Program{
		Args: append(args, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(jars, "*"), "kafka.Kafka", settings),
		Dir: dir,
		Ready: func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			r, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, ready)
			return err == nil && len(r.Brokers) == 1
		},
	})
	b.upgrade(t, ready)
	return b
}

// upgrade switches on all features that the programs have. A cluster that was not formatted begins with the oldest.
func (b *Kafka) upgrade(t testing.TB, k *kgo.Client) {
	t.Helper()
	can, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	r := kmsg.NewPtrUpdateFeaturesRequest()
	for _, f := range can.SupportedFeatures {
		if f.Name != "metadata.version" && f.Name != "share.version" {
			continue
		}
		one := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		one.Feature, one.MaxVersionLevel, one.UpgradeType = f.Name, f.MaxVersion, 1
		r.FeatureUpdates = append(r.FeatureUpdates, one)
	}
	did, err := r.RequestWith(t.Context(), k)
	if err == nil {
		err = kerr.ErrorForCode(did.ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range did.Results {
		if err := kerr.ErrorForCode(f.ErrorCode); err != nil {
			t.Fatalf("%s: %v", f.Feature, err)
		}
	}
}
