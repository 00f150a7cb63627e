package sample

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// forms are AWS's own types of what functions get, by sample.
var forms = map[string]any{
	"s3/put": &events.S3Event{}, "s3/delete": &events.S3Event{}, "rekognition/s3-request": &events.S3Event{}, "s3/batch-invocation": &events.S3BatchJobEvent{},
	"sns/notification": &events.SNSEvent{}, "sqs/receive-message": &events.SQSEvent{}, "sqs/receive-fifo-message": &events.SQSEvent{},
	"kinesis/get-records": &events.KinesisEvent{}, "kinesis/time-window": &events.KinesisTimeWindowEvent{}, "kinesis/kinesis-firehose": &events.KinesisFirehoseEvent{},
	"dynamodb/update": &events.DynamoDBEvent{}, "kafka/msk": &events.KafkaEvent{}, "kafka/self-managed": &events.KafkaEvent{},
	"mq/activemq": &events.ActiveMQEvent{}, "mq/rabbitmq": &events.RabbitMQEvent{},
	"apigateway/aws-proxy": &events.APIGatewayProxyRequest{}, "apigateway/http-api-proxy": &events.APIGatewayV2HTTPRequest{},
	"apigateway/authorizer": &events.APIGatewayCustomAuthorizerRequest{}, "apigateway/request-authorizer": &events.APIGatewayCustomAuthorizerRequestTypeRequest{},
	"apigateway/http-api-authorizer": &events.APIGatewayV2CustomAuthorizerV2Request{}, "lambda-url/request": &events.LambdaFunctionURLRequest{},
	"websocket/connect": &events.APIGatewayWebsocketProxyRequest{}, "websocket/message": &events.APIGatewayWebsocketProxyRequest{}, "websocket/disconnect": &events.APIGatewayWebsocketProxyRequest{},
	"alb/request": &events.ALBTargetGroupRequest{}, "alb/request-multi-value": &events.ALBTargetGroupRequest{},
	"eventbridge/event": &events.EventBridgeEvent{}, "cloudwatch/scheduled-event": &events.CloudWatchEvent{}, "scheduler/schedule": &events.EventBridgeEvent{},
	"cloudwatch/logs": &events.CloudwatchLogsEvent{}, "config/item-change-notification": &events.ConfigEvent{}, "config/periodic-rule": &events.ConfigEvent{},
	"cognito/pre-sign-up": &events.CognitoEventUserPoolsPreSignup{}, "cognito/post-confirmation": &events.CognitoEventUserPoolsPostConfirmation{},
	"cognito/pre-authentication": &events.CognitoEventUserPoolsPreAuthentication{}, "cognito/post-authentication": &events.CognitoEventUserPoolsPostAuthentication{},
	"cognito/pre-token-generation": &events.CognitoEventUserPoolsPreTokenGen{}, "cognito/custom-message": &events.CognitoEventUserPoolsCustomMessage{},
	"cognito/define-auth-challenge": &events.CognitoEventUserPoolsDefineAuthChallenge{}, "cognito/create-auth-challenge": &events.CognitoEventUserPoolsCreateAuthChallenge{},
	"cognito/verify-auth-challenge": &events.CognitoEventUserPoolsVerifyAuthChallenge{}, "cognito/user-migration": &events.CognitoEventUserPoolsMigrateUser{},
	"cognito/sync-trigger": &events.CognitoEvent{}, "ses/email-receiving": &events.SimpleEmailEvent{}, "iot/custom-authorizer": &events.IoTCoreCustomAuthorizerRequest{},
	"iot/button": &events.IoTButtonEvent{}, "codecommit/repository": &events.CodeCommitEvent{}, "codepipeline/job": &events.CodePipelineJobEvent{},
	"secretsmanager/rotation": &events.SecretsManagerSecretRotationEvent{}, "connect/contact-flow-event": &events.ConnectEvent{}, "lex/fulfillment": &events.LexEvent{},
}

// Every sample is what AWS's own types of events can take, member by member, and each of its settings is seen in it.
func TestSamples(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, s := range All() {
		name := s.Source + "/" + s.Type
		known[name] = true
		t.Run(name, func(t *testing.T) {
			plain, err := s.Event(nil)
			if err != nil {
				t.Fatal(err)
			}
			if form := forms[name]; form != nil {
				d := json.NewDecoder(bytes.NewReader(plain))
				if name != "lambda-url/request" { // routeKey, which is always $default, has no member there
					d.DisallowUnknownFields()
				}
				if err := d.Decode(form); err != nil {
					t.Errorf("%v in %s", err, plain)
				}
			}
			for _, f := range s.Settings {
				hostile := "a\"b\\c\n<&>ä"
				set := hostile
				if json.Valid([]byte(f.Default)) && strings.Contains("{[0123456789", f.Default[:1]) {
					set = "7"
				}
				b, err := s.Event(map[string]string{f.Name: set})
				if err != nil {
					t.Errorf("%s: %v", f.Name, err)
					continue
				}
				if bytes.Equal(b, plain) {
					t.Errorf("%s changes nothing", f.Name)
				}
			}
			if _, err := s.Event(map[string]string{"nothing": ""}); err == nil {
				t.Error("a setting that is none passes")
			}
		})
	}
	for name := range forms {
		if !known[name] {
			t.Errorf("there is no sample %s", name)
		}
	}
}

// The lines of a log group can be unpacked, and say what was set.
func TestSampleOfLogs(t *testing.T) {
	t.Parallel()
	for _, s := range All() {
		if s.Source != "cloudwatch" || s.Type != "logs" {
			continue
		}
		b, err := s.Event(map[string]string{"message": `a "quoted" line`})
		if err != nil {
			t.Fatal(err)
		}
		var e events.CloudwatchLogsEvent
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		data, err := e.AWSLogs.Parse()
		if err != nil || data.LogEvents[0].Message != `a "quoted" line` {
			t.Errorf("%+v, %v", data, err)
		}
	}
}
