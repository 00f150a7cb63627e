package sns

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"thaw/iam"
	"thaw/push"
)

func asFailure(err error, f **failure) bool { return errors.As(err, f) }

func isNone(err error) bool { return errors.Is(err, push.ErrNone) }

func cloneMap(m map[string]string) map[string]string {
	c := map[string]string{}
	maps.Copy(c, m)
	return c
}

func copyOf(t *Topic) *Topic {
	c := *t
	c.Attributes, c.Tags = cloneMap(t.Attributes), slices.Clone(t.Tags)
	return &c
}

const maxTags = 50

func tooManyTags() error {
	return &failure{http.StatusBadRequest, "TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded"}
}

// tagged is the topic whose tags a request is about.
func (c *call) tagged(action string) (*topic, error) {
	t, err := c.topicOf("ResourceArn", action)
	if f := (*failure)(nil); asFailure(err, &f) && f.code == "NotFound" {
		return nil, &failure{http.StatusNotFound, "ResourceNotFound", "Resource does not exist"}
	}
	return t, err
}

func tagResource(c *call) (any, error) {
	t, err := c.tagged("TagResource")
	if err != nil {
		return nil, err
	}
	tags, err := c.p.tags("Tags")
	if err != nil {
		return nil, err
	}
	return struct{}{}, c.s.changeTopic(c.ctx, t.ARN, func(t *Topic) error {
		for _, tag := range tags {
			if i := slices.IndexFunc(t.Tags, func(o Tag) bool { return o.Key == tag.Key }); i >= 0 {
				t.Tags[i] = tag
			} else {
				t.Tags = append(t.Tags, tag)
			}
		}
		if len(t.Tags) > maxTags {
			return tooManyTags()
		}
		return nil
	})
}

func untagResource(c *call) (any, error) {
	t, err := c.tagged("UntagResource")
	if err != nil {
		return nil, err
	}
	keys := c.p.list("TagKeys")
	return struct{}{}, c.s.changeTopic(c.ctx, t.ARN, func(t *Topic) error {
		t.Tags = slices.DeleteFunc(t.Tags, func(tag Tag) bool { return slices.Contains(keys, tag.Key) })
		return nil
	})
}

func listTags(c *call) (any, error) {
	t, err := c.tagged("ListTagsForResource")
	if err != nil {
		return nil, err
	}
	out := struct {
		Tags struct {
			Member []Tag `xml:"member"`
		}
	}{}
	out.Tags.Member = t.Tags
	return out, nil
}

var (
	accountRE = regexp.MustCompile(`^[0-9]{12}$`)
	// granted are the actions that AddPermission knows. Source: API Reference, AddPermission.
	granted = []string{"AddPermission", "DeleteTopic", "GetDataProtectionPolicy", "GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource", "Publish",
		"PutDataProtectionPolicy", "RemovePermission", "SetTopicAttributes", "Subscribe"}
)

// readDocument reads a policy whose statements are changed, those that stay word for word.
func readDocument(text string) (head map[string]json.RawMessage, statements []json.RawMessage, err error) {
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(head["Statement"], &statements); err != nil { // one that is no list
		statements = []json.RawMessage{head["Statement"]}
	}
	return head, statements, nil
}

func sidOf(raw json.RawMessage) string {
	var s struct{ Sid string }
	json.Unmarshal(raw, &s) //nolint:errcheck // then it has none
	return s.Sid
}

func (t *Topic) setStatements(head map[string]json.RawMessage, statements []json.RawMessage) error {
	list, err := json.Marshal(statements)
	if err != nil {
		return err
	}
	head["Statement"] = list
	text, err := json.Marshal(head)
	if err == nil {
		_, err = iam.Parse(text, iam.Resource)
	}
	if err != nil {
		return invalid("Policy Error: %v", err)
	}
	t.Attributes[policyAttribute] = string(text)
	return nil
}

func addPermission(c *call) (any, error) {
	label, err := c.p.must("Label")
	if err != nil {
		return nil, err
	}
	t, err := c.topicOf("TopicArn", "AddPermission")
	if err != nil {
		return nil, err
	}
	accounts, actions := c.p.list("AWSAccountId"), c.p.list("ActionName")
	if len(accounts) == 0 || len(actions) == 0 {
		return nil, invalid("a permission names at least one AWSAccountId and one ActionName")
	}
	var principals, allowed []string
	for _, a := range accounts {
		if !accountRE.MatchString(a) {
			return nil, invalid("AWSAccountId Reason: %s is no account", a)
		}
		principals = append(principals, "arn:aws:iam::"+a+":root")
	}
	for _, a := range actions {
		if !slices.Contains(granted, a) {
			return nil, invalid("Policy statement action out of service scope!")
		}
		allowed = append(allowed, "SNS:"+a)
	}
	return nil, c.s.changeTopic(c.ctx, t.ARN, func(t *Topic) error {
		head, statements, err := readDocument(t.policy())
		if err != nil {
			return err
		}
		if slices.ContainsFunc(statements, func(s json.RawMessage) bool { return sidOf(s) == label }) {
			return invalid("Statement already exists")
		}
		raw, err := json.Marshal(statement{Sid: label, Effect: "Allow", Principal: map[string]any{"AWS": oneOrAll(principals)}, Action: oneOrAll(allowed), Resource: t.ARN})
		if err != nil {
			return err
		}
		return t.setStatements(head, append(statements, raw))
	})
}

// oneOrAll is a list as policies write it.
func oneOrAll(list []string) any {
	if len(list) == 1 {
		return list[0]
	}
	return list
}

func removePermission(c *call) (any, error) {
	label, err := c.p.must("Label")
	if err != nil {
		return nil, err
	}
	t, err := c.topicOf("TopicArn", "RemovePermission")
	if err != nil {
		return nil, err
	}
	return nil, c.s.changeTopic(c.ctx, t.ARN, func(t *Topic) error {
		head, statements, err := readDocument(t.policy())
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(statements, func(s json.RawMessage) bool { return sidOf(s) == label })
		if len(rest) == 0 {
			delete(t.Attributes, policyAttribute)
			return nil
		}
		return t.setStatements(head, rest)
	})
}

// redriveOf is the dead-letter queue of a RedrivePolicy that was checked; empty: none.
func redriveOf(policy string) string {
	var r struct {
		Queue string `json:"deadLetterTargetArn"`
	}
	json.Unmarshal([]byte(policy), &r) //nolint:errcheck // then it has none
	return r.Queue
}

func fifoQueue(arn string) bool { return strings.HasSuffix(arn, ".fifo") }
