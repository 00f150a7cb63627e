package courier

import (
	"errors"
	"fmt"
	"strings"

	"thaw/function"
)

// parts are the service, the account and the resource of an ARN; no service: it is none.
func parts(arn string) (service, account, resource string) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[2] == "" || p[5] == "" {
		return "", "", ""
	}
	return p[2], p[4], p[5]
}

// ErrARN says that something is no ARN.
const ErrARN = wordsError("Provided Arn is not in correct format")

// wordsError is an error in the service's own words: clients read them as they are.
type wordsError string

func (e wordsError) Error() string { return string(e) }

// Check says why something cannot be a target on this server of an account; nil: it can.
func Check(arn, account string) error {
	service, owner, resource := parts(arn)
	switch service {
	case "":
		return ErrARN
	case "lambda":
		if r, err := function.ParseRead(arn); err != nil || r.Partition == "" {
			return fmt.Errorf("%s is not the ARN of a function", arn)
		}
	case "sqs", "sns":
	case "events":
		if !strings.HasPrefix(resource, "event-bus/") || owner != account {
			return errors.New("of EventBridge only buses of this server can be targets")
		}
	case "logs":
		if !strings.HasPrefix(resource, "log-group:") {
			return fmt.Errorf("%s is not the ARN of a log group", arn)
		}
	default:
		return fmt.Errorf("%s cannot be a target on this server: functions, SQS queues, SNS topics, buses of this server and log groups can", service)
	}
	return nil
}

// IsQueue says whether an ARN is that of a queue, and whether that is a FIFO one.
func IsQueue(arn string) (queue, fifo bool) {
	service, _, resource := parts(arn)
	return service == "sqs", strings.HasSuffix(resource, ".fifo")
}
