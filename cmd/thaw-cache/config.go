package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// config is what variables of the function say. Those that begin with PARAMETERS_, SECRETS_ and SSM_ are of AWS's extension.
// Source: AWS Systems Manager User Guide, Using Parameter Store parameters in AWS Lambda functions.
type config struct {
	api      string // host:port of the Runtime and Extensions APIs
	port     string
	tokens   []string // that open it
	restored string   // the file that changes with a restore; empty: there is none
	snapshot bool     // the snapshot is told when it is stale

	entries, bytes            int
	parameter, secret         time.Duration // TTLs
	web, file                 time.Duration
	stale, timeout            time.Duration
	parameterWait, secretWait time.Duration // of one call; 0: timeout alone
}

// readConfig reads the variables. A number that is none, or beyond its bounds, is an error: a function that believes
// its secrets are good for a minute must not have them for five.
func readConfig(get func(string) string) (config, error) {
	var errs []error
	number := func(name string, otherwise, least, most int) int {
		text := get(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			errs = append(errs, fmt.Errorf("%s is no number from %d to %d", name, least, most))
		}
		return n
	}
	seconds := func(name string, otherwise, most int) time.Duration {
		return time.Duration(number(name, otherwise, 0, most)) * time.Second
	}
	millis := func(name string) time.Duration {
		return time.Duration(number(name, 0, 0, 900_000)) * time.Millisecond
	}
	c := config{
		api: get("AWS_LAMBDA_RUNTIME_API"), restored: get("THAW_RESTORE_FILE"), snapshot: get("THAW_CACHE_SNAPSHOT") != "off",
		port:      strconv.Itoa(number("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", 2773, 1, 65535)),
		entries:   number("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", 1000, 0, 1000),
		bytes:     number("THAW_CACHE_MIB", 16, 1, 1024) << 20,
		parameter: seconds("SSM_PARAMETER_STORE_TTL", 300, 300), secret: seconds("SECRETS_MANAGER_TTL", 300, 300),
		web: seconds("THAW_CACHE_HTTP_TTL", 60, 86400), file: seconds("THAW_CACHE_FILE_TTL", 60, 86400),
		stale: seconds("THAW_CACHE_STALE", 300, 86400), timeout: 10 * time.Second,
		parameterWait: millis("SSM_PARAMETER_STORE_TIMEOUT_MILLIS"), secretWait: millis("SECRETS_MANAGER_TIMEOUT_MILLIS"),
	}
	switch text := get("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED"); text {
	case "", "true", "TRUE":
	case "false", "FALSE":
		c.entries = 0
	default:
		errs = append(errs, errors.New("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED is neither true nor false"))
	}
	for _, name := range []string{"AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"} {
		if token := get(name); token != "" {
			c.tokens = append(c.tokens, token)
		}
	}
	if len(c.tokens) == 0 {
		errs = append(errs, errors.New("the environment has no session token, so nobody could open it"))
	}
	return c, errors.Join(errs...)
}
