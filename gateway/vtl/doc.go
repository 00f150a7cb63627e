// Package vtl renders mapping templates of API Gateway: the part of Apache's Velocity Template Language that API Gateway
// documents, with its variables $input, $context, $stageVariables and $util.
//
// It is pure: a template can do nothing but make text, and is bounded in steps and in what it makes, because whoever may
// change an API must not be able to keep the server busy.
//
// Source: API Gateway Developer Guide, "Mapping template transformations" and its reference of variables; Velocity 1.7's
// user guide. docs/decisions/0010-mapping-templates.md says why there is no library.
package vtl
