package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"thaw/trigger/sample"
)

func eventCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:     "event",
		Short:   "Sample events to try a handler with",
		Example: "thaw event generate s3 put --bucket images --key in/a.jpg",
	}, eventGenerateCommand(a))
}

func eventGenerateCommand(a *app) *cobra.Command {
	sources := map[string][]*cobra.Command{}
	var names []string
	for _, s := range sample.All() {
		if sources[s.Source] == nil {
			names = append(names, s.Source)
		}
		sources[s.Source] = append(sources[s.Source], sampleCommand(a, s))
	}
	slices.Sort(names)
	var below []*cobra.Command
	for _, name := range names {
		below = append(below, group(&cobra.Command{Use: name, Short: fmt.Sprintf("Events of %s", cmp.Or(sourceNames[name], name)),
			Example: sources[name][0].Example}, sources[name]...))
	}
	return group(&cobra.Command{
		Use:   "generate SOURCE TYPE",
		Short: "Print an event as a source would send it, with what its flags say in it",
		Long: `Prints an event of a source as JSON, for a handler or a test. thaw event generate lists the sources, thaw event generate SOURCE its events,
and --help behind an event what can be set in it.`,
		Example: "thaw event generate sqs receive-message --body '{\"order\":1}'",
	}, below...)
}

// sourceNames are the services' own names where the commands differ.
var sourceNames = map[string]string{
	"alb": "load balancers", "alexa-skills-kit": "Alexa skills", "alexa-smart-home": "Alexa smart homes", "apigateway": "API Gateway", "appsync": "AppSync", "batch": "AWS Batch",
	"cloudformation": "CloudFormation", "cloudfront": "CloudFront", "cloudwatch": "CloudWatch", "codecommit": "CodeCommit", "codepipeline": "CodePipeline", "cognito": "Cognito",
	"config": "AWS Config", "connect": "Amazon Connect", "documentdb": "DocumentDB", "dynamodb": "DynamoDB streams", "eventbridge": "EventBridge buses", "iot": "AWS IoT",
	"kafka": "Apache Kafka", "kinesis": "Kinesis", "lambda-url": "function URLs", "lex": "Lex V1", "lex-v2": "Lex V2", "mq": "Amazon MQ", "rekognition": "Rekognition", "s3": "S3",
	"sagemaker": "SageMaker", "scheduler": "EventBridge Scheduler", "secretsmanager": "Secrets Manager", "ses": "SES", "sns": "SNS", "sqs": "SQS", "stepfunctions": "Step Functions",
	"websocket": "WebSocket APIs", "workmail": "WorkMail",
}

func sampleCommand(a *app, s *sample.Sample) *cobra.Command {
	values := make([]string, len(s.Settings))
	cmd := &cobra.Command{
		Use:     s.Type,
		Short:   s.Short,
		Args:    args(cobra.NoArgs),
		Example: "thaw event generate " + s.Source + " " + s.Type,
	}
	for i, f := range s.Settings {
		cmd.Flags().StringVar(&values[i], f.Name, f.Default, f.Help)
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		set := map[string]string{}
		for i, f := range s.Settings {
			set[f.Name] = values[i]
		}
		b, err := s.Event(set)
		if err != nil {
			return misuse{err}
		}
		return a.print(json.RawMessage(b), func(w io.Writer) { w.Write(b) }) //nolint:errcheck // nobody to tell
	}
	return cmd
}
