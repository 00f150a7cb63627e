package eventbridge

import (
	"fmt"

	"thaw/internal/shape"
)

// failure is an answer other than success.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.code + ": " + f.message }

func fail(code, format string, v ...any) *failure { return &failure{code, fmt.Sprintf(format, v...)} }

func invalid(format string, v ...any) error { return fail("ValidationException", format, v...) }

func notFound(format string, v ...any) error {
	return fail("ResourceNotFoundException", format, v...)
}

// violated is the error of everything that is wrong with a request; nil: nothing is.
func violated(v shape.Violations) error {
	if s := v.String(); s != "" {
		return invalid("%s", s)
	}
	return nil
}

// Shapes of the service's model. Source: botocore 1.43.11, events 2015-10-07.
var (
	busName       = shape.NewText(1, 256, `[/\.\-_A-Za-z0-9]+`)
	busNameOrARN  = shape.NewText(1, 1600, `(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?[/\.\-_A-Za-z0-9]+`)
	ruleName      = shape.NewText(1, 64, `[\.\-_A-Za-z0-9]+`)
	description   = shape.NewText(0, 512, "")
	scheduleText  = shape.NewText(0, 256, "")
	patternText   = shape.NewText(0, 4096, "")
	anyARN        = shape.NewText(1, 1600, "")
	targetID      = shape.NewText(1, 64, `[\.\-_A-Za-z0-9]+`)
	inputText     = shape.NewText(0, 8192, "")
	inputPath     = shape.NewText(0, 256, "")
	inputTemplate = shape.NewText(1, 8192, "")
	pathName      = shape.NewText(1, 256, `[A-Za-z0-9\_\-]+`)
	groupID       = shape.NewText(0, 128, "")
	someToken     = shape.NewText(1, 2048, "")
	kmsKey        = shape.NewText(0, 2048, `[a-zA-Z0-9_\-/:]*`)
	tagKey        = shape.NewText(1, 128, "")
	tagValue      = shape.NewText(0, 256, "")
	statementID   = shape.NewText(1, 64, `[a-zA-Z0-9-_]+`)
	principalText = shape.NewText(1, 12, `(\d{12}|\*)`)
	actionText    = shape.NewText(1, 64, `events:[a-zA-Z]+`)
)

// absent are the operations of the service that are not there. Source: its model, botocore 1.43.11.
const absent = `
 ActivateEventSource CancelReplay CreateApiDestination CreateArchive CreateConnection CreateEndpoint 
 CreatePartnerEventSource DeactivateEventSource DeauthorizeConnection DeleteApiDestination DeleteArchive 
 DeleteConnection DeleteEndpoint DeletePartnerEventSource DescribeApiDestination DescribeArchive 
 DescribeConnection DescribeEndpoint DescribeEventSource DescribePartnerEventSource DescribeReplay 
 ListApiDestinations ListArchives ListConnections ListEndpoints ListEventSources 
 ListPartnerEventSourceAccounts ListPartnerEventSources ListReplays PutPartnerEvents StartReplay 
 UpdateApiDestination UpdateArchive UpdateConnection UpdateEndpoint `
