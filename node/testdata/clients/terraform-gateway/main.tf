terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "5.100.0" }
  }
}
variable "endpoint" { type = string }
variable "zip" { type = string }
variable "runtime" { type = string }
variable "burst" {
  type    = number
  default = 50
}

provider "aws" {
  region                  = "eu-west-1"
  access_key              = "AKIDEXAMPLE"
  secret_key              = "secret"
  skip_metadata_api_check = true
  endpoints {
    lambda       = var.endpoint
    logs         = var.endpoint
    sts          = var.endpoint
    apigateway   = var.endpoint
    apigatewayv2 = var.endpoint
  }
}

resource "aws_lambda_function" "door" {
  function_name    = "tf-door"
  role             = "arn:aws:iam::000000000000:role/any"
  runtime          = var.runtime
  handler          = "index.handler"
  filename         = var.zip
  source_code_hash = filebase64sha256(var.zip)
}

resource "aws_lambda_permission" "http" {
  statement_id  = "http"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.door.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.shop.execution_arn}/*"
}

resource "aws_lambda_permission" "rest" {
  statement_id  = "rest"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.door.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.shop.execution_arn}/*"
}

resource "aws_cloudwatch_log_group" "access" {
  name = "/shop/access"
}

resource "aws_lambda_permission" "logs" {
  statement_id  = "logs"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.door.function_name
  principal     = "logs.eu-west-1.amazonaws.com"
  source_arn    = "${aws_cloudwatch_log_group.access.arn}:*"
}

resource "aws_cloudwatch_log_subscription_filter" "access" {
  name            = "access"
  log_group_name  = aws_cloudwatch_log_group.access.name
  filter_pattern  = "ERROR"
  destination_arn = aws_lambda_function.door.arn
  depends_on      = [aws_lambda_permission.logs]
}

resource "aws_apigatewayv2_api" "shop" {
  name          = "tf-shop"
  protocol_type = "HTTP"
  description   = "sells"
  tags          = { team = "shop" }
  cors_configuration {
    allow_origins = ["https://example.org"]
    allow_methods = ["GET", "POST"]
    max_age       = 60
  }
}

resource "aws_apigatewayv2_integration" "door" {
  api_id                 = aws_apigatewayv2_api.shop.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.door.invoke_arn
  payload_format_version = "2.0"
  request_parameters     = { "overwrite:header.x" = "a" }
  timeout_milliseconds   = 12000
}

resource "aws_apigatewayv2_authorizer" "judge" {
  api_id                            = aws_apigatewayv2_api.shop.id
  name                              = "judge"
  authorizer_type                   = "REQUEST"
  authorizer_uri                    = aws_lambda_function.door.invoke_arn
  identity_sources                  = ["$request.header.Authorization"]
  authorizer_payload_format_version = "2.0"
  enable_simple_responses           = true
  authorizer_result_ttl_in_seconds  = 0
}

resource "aws_apigatewayv2_authorizer" "tokens" {
  api_id           = aws_apigatewayv2_api.shop.id
  name             = "tokens"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]
  jwt_configuration {
    issuer   = "https://issuer.example.org"
    audience = ["shop"]
  }
}

resource "aws_apigatewayv2_route" "order" {
  api_id    = aws_apigatewayv2_api.shop.id
  route_key = "GET /orders/{id}"
  target    = "integrations/${aws_apigatewayv2_integration.door.id}"
}

resource "aws_apigatewayv2_route" "judged" {
  api_id             = aws_apigatewayv2_api.shop.id
  route_key          = "GET /judged"
  target             = "integrations/${aws_apigatewayv2_integration.door.id}"
  authorization_type = "CUSTOM"
  authorizer_id      = aws_apigatewayv2_authorizer.judge.id
}

resource "aws_apigatewayv2_route" "tokens" {
  api_id               = aws_apigatewayv2_api.shop.id
  route_key            = "GET /tokens"
  target               = "integrations/${aws_apigatewayv2_integration.door.id}"
  authorization_type   = "JWT"
  authorization_scopes = ["orders"]
  authorizer_id        = aws_apigatewayv2_authorizer.tokens.id
}

resource "aws_apigatewayv2_stage" "prod" {
  api_id      = aws_apigatewayv2_api.shop.id
  name        = "prod"
  auto_deploy = true
  default_route_settings {
    throttling_burst_limit = var.burst
    throttling_rate_limit  = 100
  }
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = "$context.requestId $context.status"
  }
  stage_variables = { table = "orders" }
}

resource "aws_api_gateway_rest_api" "shop" {
  name = "tf-shop"
  endpoint_configuration { types = ["REGIONAL"] }
  binary_media_types = ["image/png"]
}

resource "aws_api_gateway_resource" "orders" {
  rest_api_id = aws_api_gateway_rest_api.shop.id
  parent_id   = aws_api_gateway_rest_api.shop.root_resource_id
  path_part   = "orders"
}

resource "aws_api_gateway_request_validator" "all" {
  rest_api_id                 = aws_api_gateway_rest_api.shop.id
  name                        = "all"
  validate_request_parameters = true
}

resource "aws_api_gateway_method" "orders" {
  rest_api_id          = aws_api_gateway_rest_api.shop.id
  resource_id          = aws_api_gateway_resource.orders.id
  http_method          = "GET"
  authorization        = "NONE"
  api_key_required     = true
  request_validator_id = aws_api_gateway_request_validator.all.id
  request_parameters   = { "method.request.querystring.q" = true }
}

resource "aws_api_gateway_integration" "orders" {
  rest_api_id             = aws_api_gateway_rest_api.shop.id
  resource_id             = aws_api_gateway_resource.orders.id
  http_method             = aws_api_gateway_method.orders.http_method
  type                    = "AWS_PROXY"
  integration_http_method = "POST"
  uri                     = aws_lambda_function.door.invoke_arn
}

resource "aws_api_gateway_method" "mock" {
  rest_api_id   = aws_api_gateway_rest_api.shop.id
  resource_id   = aws_api_gateway_rest_api.shop.root_resource_id
  http_method   = "GET"
  authorization = "NONE"
}

resource "aws_api_gateway_integration" "mock" {
  rest_api_id       = aws_api_gateway_rest_api.shop.id
  resource_id       = aws_api_gateway_rest_api.shop.root_resource_id
  http_method       = aws_api_gateway_method.mock.http_method
  type              = "MOCK"
  request_templates = { "application/json" = jsonencode({ statusCode = 200 }) }
}

resource "aws_api_gateway_method_response" "mock" {
  rest_api_id         = aws_api_gateway_rest_api.shop.id
  resource_id         = aws_api_gateway_rest_api.shop.root_resource_id
  http_method         = aws_api_gateway_method.mock.http_method
  status_code         = "200"
  response_parameters = { "method.response.header.X-From" = true }
}

resource "aws_api_gateway_integration_response" "mock" {
  rest_api_id         = aws_api_gateway_rest_api.shop.id
  resource_id         = aws_api_gateway_rest_api.shop.root_resource_id
  http_method         = aws_api_gateway_method.mock.http_method
  status_code         = aws_api_gateway_method_response.mock.status_code
  response_parameters = { "method.response.header.X-From" = "'mock'" }
  response_templates  = { "application/json" = "{\"ip\": \"$context.identity.sourceIp\"}" }
  depends_on          = [aws_api_gateway_integration.mock]
}

resource "aws_api_gateway_gateway_response" "forbidden" {
  rest_api_id        = aws_api_gateway_rest_api.shop.id
  response_type      = "INVALID_API_KEY"
  status_code        = "401"
  response_templates = { "application/json" = "{\"bring\":\"a key\"}" }
}

resource "aws_api_gateway_deployment" "shop" {
  rest_api_id = aws_api_gateway_rest_api.shop.id
  triggers    = { redeployment = sha1(jsonencode([aws_api_gateway_integration.orders, aws_api_gateway_integration_response.mock])) }
  depends_on  = [aws_api_gateway_integration.orders, aws_api_gateway_integration_response.mock, aws_api_gateway_gateway_response.forbidden]
  lifecycle { create_before_destroy = true }
}

resource "aws_api_gateway_stage" "prod" {
  rest_api_id   = aws_api_gateway_rest_api.shop.id
  deployment_id = aws_api_gateway_deployment.shop.id
  stage_name    = "prod"
  variables     = { table = "orders" }
  tags          = { team = "shop" }
}

resource "aws_api_gateway_method_settings" "all" {
  rest_api_id = aws_api_gateway_rest_api.shop.id
  stage_name  = aws_api_gateway_stage.prod.stage_name
  method_path = "*/*"
  settings {
    throttling_burst_limit = var.burst
    throttling_rate_limit  = 100
  }
}

resource "aws_api_gateway_api_key" "you" { name = "tf-you" }

resource "aws_api_gateway_usage_plan" "gold" {
  name = "tf-gold"
  api_stages {
    api_id = aws_api_gateway_rest_api.shop.id
    stage  = aws_api_gateway_stage.prod.stage_name
  }
  throttle_settings {
    burst_limit = var.burst
    rate_limit  = 100
  }
  quota_settings {
    limit  = 1000
    period = "MONTH"
  }
}

resource "aws_api_gateway_usage_plan_key" "you" {
  key_id        = aws_api_gateway_api_key.you.id
  key_type      = "API_KEY"
  usage_plan_id = aws_api_gateway_usage_plan.gold.id
}

output "http" { value = aws_apigatewayv2_api.shop.id }
output "rest" { value = aws_api_gateway_rest_api.shop.id }
output "key" {
  value     = aws_api_gateway_api_key.you.value
  sensitive = true
}

resource "aws_apigatewayv2_api" "chat" {
  name                       = "tf-chat"
  protocol_type              = "WEBSOCKET"
  route_selection_expression = "$request.body.action"
}

resource "aws_lambda_permission" "chat" {
  statement_id  = "chat"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.door.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.chat.execution_arn}/*"
}

resource "aws_apigatewayv2_integration" "chat" {
  api_id           = aws_apigatewayv2_api.chat.id
  integration_type = "AWS_PROXY"
  integration_uri  = aws_lambda_function.door.invoke_arn
}

resource "aws_apigatewayv2_route" "chat" {
  api_id                              = aws_apigatewayv2_api.chat.id
  route_key                           = "$default"
  target                              = "integrations/${aws_apigatewayv2_integration.chat.id}"
  route_response_selection_expression = "$default"
}

resource "aws_apigatewayv2_route_response" "chat" {
  api_id             = aws_apigatewayv2_api.chat.id
  route_id           = aws_apigatewayv2_route.chat.id
  route_response_key = "$default"
}

resource "aws_apigatewayv2_stage" "chat" {
  api_id      = aws_apigatewayv2_api.chat.id
  name        = "prod"
  auto_deploy = true
  depends_on  = [aws_apigatewayv2_route_response.chat]
}

output "chat" { value = aws_apigatewayv2_api.chat.id }
