package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"thaw/sns"
)

func triggerAddSNSCommand(a *app) *cobra.Command {
	var (
		function, ca string
		set          sns.Settings
	)
	cmd := &cobra.Command{
		Use:   "sns NAME --topic ARN --function FUNCTION",
		Short: "Take the messages of a topic elsewhere, which sends them by HTTP",
		Long: `Makes a URL that is to be subscribed to a topic of AWS, or of what speaks for it. This server confirms the subscription by itself, takes
messages that the sender has signed, each once, and the function gets SNS's event. Topics of this server need no trigger: subscribe the
function with aws sns subscribe.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw trigger add sns orders --topic arn:aws:sns:eu-west-1:123456789012:orders --function hello",
	}
	f := cmd.Flags()
	f.StringVar(&function, "function", "", "the function, or FUNCTION:QUALIFIER, that gets the messages")
	f.StringVar(&set.Topic, "topic", "", "ARN of the topic; messages of others are refused")
	f.StringVar(&set.Endpoint, "sender", "", "https://HOST[:PORT] of who sends (default https://sns.REGION.amazonaws.com)")
	f.StringVar(&ca, "ca", "", "file of certificates in PEM that signatures' certificates must be, or be signed by; needed for a sender by http")
	f.BoolVar(&set.Raw, "raw", false, "take raw deliveries too: nobody signs them, so the URL gets a secret, which is shown once")
	f.StringVar(&set.FilterPolicy, "filter-policy", "", "filter policy in JSON, for a subscription that has none")
	f.StringVar(&set.FilterScope, "filter-policy-scope", "", "what the policy is about: MessageAttributes (default) or MessageBody")
	cmd.RegisterFlagCompletionFunc("function", a.complete(aQualified)) //nolint:errcheck // the flag is there
	cmd.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case function == "":
			return misuse{errors.New("--function says who gets the messages")}
		case set.Topic == "":
			return misuse{errors.New("--topic says whose messages they are")}
		}
		return nil
	}
	return calling(a, cmd, nil, func(c *call) error {
		if ca != "" {
			text, err := os.ReadFile(ca)
			if err != nil {
				return err
			}
			set.CA = string(text)
		}
		made, err := c.add("sns", c.names[0], function, set)
		if err != nil {
			return err
		}
		return a.print(made, func(w io.Writer) {
			fmt.Fprintf(w, "%s sends to %s at %s\n", made.From, shortFunction(made.Function), made.At)
			protocol, _, _ := strings.Cut(made.At, ":")
			fmt.Fprintf(a.words, "aws sns subscribe --topic-arn %s --protocol %s --notification-endpoint %s\n", made.From, protocol, made.At)
		})
	})
}
