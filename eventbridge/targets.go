package eventbridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thaw/courier"
	"thaw/internal/shape"
)

// maxTargets of one rule. Source: EventBridge User Guide, quotas.
const maxTargets = 5

// targetRequest is a target as a request has it; what it may be told for services that cannot be targets here is only
// looked at to refuse it in words.
type targetRequest struct {
	ID  *string `json:"Id"`
	ARN *string `json:"Arn"`
	Target
}

func (t *targetRequest) check(v *shape.Violations, at string) {
	v.Required(at+"id", t.ID, targetID)
	v.Required(at+"arn", t.ARN, anyARN)
	v.Text(at+"input", t.Input, inputText)
	v.Text(at+"inputPath", t.InputPath, inputPath)
	if x := t.InputTransformer; x != nil {
		v.Text(at+"inputTransformer.inputTemplate", &x.Template, inputTemplate)
		v.Length(at+"inputTransformer.inputPathsMap", len(x.Paths), 0, 100)
		for name, path := range x.Paths {
			v.Text(at+"inputTransformer.inputPathsMap.key", &name, pathName)
			v.Text(at+"inputTransformer.inputPathsMap.value", &path, inputPath)
		}
	}
	if t.SQS != nil {
		v.Text(at+"sqsParameters.messageGroupId", &t.SQS.GroupID, groupID)
	}
	if t.Retry != nil {
		v.Number(at+"retryPolicy.maximumRetryAttempts", t.Retry.Attempts, 0, 185)
		v.Number(at+"retryPolicy.maximumEventAgeInSeconds", t.Retry.Age, 60, 86400)
	}
	if t.ID != nil && t.ARN != nil {
		t.Target.ID, t.Target.ARN = *t.ID, *t.ARN
	}
}

// sound says what is wrong with a target, beyond its form.
func (s *Server) sound(t *Target) error {
	wrong := func(format string, v ...any) error {
		return invalid("Target %s is not valid. Reason: %s.", t.ID, fmt.Sprintf(format, v...))
	}
	err := courier.Check(t.ARN, s.o.AccountID)
	if errors.Is(err, courier.ErrARN) {
		return invalid("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", t.ARN)
	}
	inputs := 0
	for _, given := range []bool{t.Input != nil, t.InputPath != nil, t.InputTransformer != nil} {
		if given {
			inputs++
		}
	}
	if inputs > 1 {
		return invalid("Only one of Input, InputPath, or InputTransformer must be provided for target %s.", t.ID)
	}
	switch {
	case t.Input != nil && !json.Valid([]byte(*t.Input)):
		return invalid("JSON syntax error in input for target %s", t.ID)
	case t.InputPath != nil && *t.InputPath != "":
		if _, err := parsePath(*t.InputPath); err != nil {
			return wrong("InputPath: %v", err)
		}
	case t.InputTransformer != nil:
		if err := t.InputTransformer.check(); err != nil {
			return wrong("InputTransformer: %v", err)
		}
	}
	if t.DeadLetter != nil && t.DeadLetter.ARN != "" {
		if queue, fifo := courier.IsQueue(t.DeadLetter.ARN); !queue || fifo {
			return wrong("DeadLetterConfig takes the ARN of a standard SQS queue")
		}
	}
	if queue, fifo := courier.IsQueue(t.ARN); queue && fifo && (t.SQS == nil || t.SQS.GroupID == "") {
		return invalid("Parameter(s) MessageGroupId must be specified for target: %s.", t.ID)
	}
	if _, bus := parseARN(t.ARN); bus && inputs > 0 && err == nil {
		return wrong("a bus gets events as they are: leave out Input, InputPath and InputTransformer")
	}
	if err != nil {
		return wrong("%v", err)
	}
	return nil
}

type failedTarget struct {
	TargetID                string `json:"TargetId"`
	ErrorCode, ErrorMessage string
}

type targetsAnswer struct {
	FailedEntryCount int
	FailedEntries    []failedTarget
}

func putTargets(c *call) (any, error) {
	in, err := decode[struct {
		Rule, EventBusName *string
		Targets            []targetRequest
	}](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Required("rule", in.Rule, ruleName)
	v.Text("eventBusName", in.EventBusName, busNameOrARN)
	v.Length("targets", len(in.Targets), 1, 100)
	for i := range in.Targets {
		in.Targets[i].check(&v, fmt.Sprintf("targets.%d.member.", i+1))
	}
	if err := violated(v); err != nil {
		return nil, err
	}
	for i := range in.Targets {
		if err := c.s.sound(&in.Targets[i].Target); err != nil {
			return nil, err
		}
	}
	err = c.s.changeRule(c.ctx(), c.busOf(in.EventBusName), *in.Rule, func(r *Rule) error {
		r.Targets = slices.Clone(r.Targets)
		for i := range in.Targets {
			t := in.Targets[i].Target
			if at := slices.IndexFunc(r.Targets, func(o Target) bool { return o.ID == t.ID }); at >= 0 {
				r.Targets[at] = t
			} else {
				r.Targets = append(r.Targets, t)
			}
		}
		if len(r.Targets) > maxTargets {
			return fail("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
		}
		return nil
	})
	return targetsAnswer{FailedEntries: []failedTarget{}}, err
}

func removeTargets(c *call) (any, error) {
	in, err := decode[struct {
		Rule, EventBusName *string
		IDs                []string `json:"Ids"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Required("rule", in.Rule, ruleName)
	v.Text("eventBusName", in.EventBusName, busNameOrARN)
	v.Length("ids", len(in.IDs), 1, 100)
	if err := violated(v); err != nil {
		return nil, err
	}
	a := targetsAnswer{FailedEntries: []failedTarget{}}
	err = c.s.changeRule(c.ctx(), c.busOf(in.EventBusName), *in.Rule, func(r *Rule) error {
		rest := slices.Clone(r.Targets)
		for _, id := range in.IDs {
			n := len(rest)
			if rest = slices.DeleteFunc(rest, func(t Target) bool { return t.ID == id }); len(rest) == n {
				a.FailedEntries = append(a.FailedEntries, failedTarget{id, "ResourceNotFoundException",
					fmt.Sprintf("Rule %s does not have a target with the Id %s.", r.Name, id)})
			}
		}
		r.Targets = rest
		return nil
	})
	a.FailedEntryCount = len(a.FailedEntries)
	return a, err
}

func listTargetsByRule(c *call) (any, error) {
	in, err := decode[struct {
		busPage
		Rule *string
	}](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Required("rule", in.Rule, ruleName)
	if err := in.checked(v); err != nil {
		return nil, err
	}
	r, err := c.s.needRule(c.busOf(in.EventBusName), *in.Rule)
	if err != nil {
		return nil, err
	}
	list := slices.SortedFunc(slices.Values(r.Targets), func(a, b Target) int { return strings.Compare(a.ID, b.ID) })
	part, next, err := page(&in.pageRequest, list, func(t Target) string { return t.ID })
	return struct {
		Targets   []Target
		NextToken *string `json:",omitempty"`
	}{append([]Target{}, part...), next}, err
}

func listRuleNamesByTarget(c *call) (any, error) {
	in, err := decode[struct {
		busPage
		TargetARN *string
	}](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Required("targetArn", in.TargetARN, anyARN)
	if err := in.checked(v); err != nil {
		return nil, err
	}
	k := c.busOf(in.EventBusName)
	if _, err := c.s.needBus(k); err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(c.s.ruleNames(k, ""), func(n string) bool {
		r := c.s.rule(k, n)
		return r == nil || !slices.ContainsFunc(r.Targets, func(t Target) bool { return t.ARN == *in.TargetARN })
	})
	part, next, err := page(&in.pageRequest, names, func(n string) string { return n })
	return struct {
		RuleNames []string
		NextToken *string `json:",omitempty"`
	}{append([]string{}, part...), next}, err
}
