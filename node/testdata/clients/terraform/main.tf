terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "5.100.0" }
  }
}
variable "endpoint" { type = string }
variable "zip" { type = string }
variable "runtime" { type = string }
variable "layer" { type = string }
variable "memory" {
  type    = number
  default = 128
}
variable "greeting" {
  type    = string
  default = "hello"
}

provider "aws" {
  region                  = "eu-west-1"
  access_key              = "AKIDEXAMPLE"
  secret_key              = "secret"
  skip_metadata_api_check = true
  endpoints {
    lambda = var.endpoint
    logs   = var.endpoint
    sts    = var.endpoint
  }
}

resource "aws_cloudwatch_log_group" "shop" {
  name              = "/shop"
  retention_in_days = 7
  tags              = { team = "shop" }
}

resource "aws_lambda_layer_version" "libs" {
  layer_name               = "tf-libs"
  filename                 = var.layer
  source_code_hash         = filebase64sha256(var.layer)
  description              = "libs"
  license_info             = "MIT"
  compatible_runtimes      = ["nodejs20.x", "nodejs22.x"]
  compatible_architectures = ["x86_64"]
}

resource "aws_lambda_layer_version_permission" "libs" {
  layer_name     = "tf-libs"
  version_number = aws_lambda_layer_version.libs.version
  statement_id   = "all"
  action         = "lambda:GetLayerVersion"
  principal      = "*"
}

resource "aws_lambda_function" "shop" {
  function_name                  = "tf-shop"
  description                    = "sells"
  role                           = "arn:aws:iam::000000000000:role/any"
  runtime                        = var.runtime
  handler                        = "index.handler"
  filename                       = var.zip
  source_code_hash               = filebase64sha256(var.zip)
  memory_size                    = var.memory
  timeout                        = 10
  publish                        = true
  reserved_concurrent_executions = 20
  layers                         = [aws_lambda_layer_version.libs.arn]
  environment { variables = { GREETING = var.greeting } }
  ephemeral_storage { size = 600 }
  tracing_config { mode = "PassThrough" }
  dead_letter_config { target_arn = "arn:aws:sqs:eu-west-1:000000000000:dead" }
  logging_config {
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "WARN"
    log_group             = aws_cloudwatch_log_group.shop.name
  }
  tags = { team = "shop" }
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "for customers"
  function_name    = aws_lambda_function.shop.function_name
  function_version = aws_lambda_function.shop.version
}

resource "aws_lambda_provisioned_concurrency_config" "live" {
  function_name                     = aws_lambda_function.shop.function_name
  qualifier                         = aws_lambda_alias.live.name
  provisioned_concurrent_executions = 1
}

resource "aws_lambda_function_url" "live" {
  function_name      = aws_lambda_function.shop.function_name
  qualifier          = aws_lambda_alias.live.name
  authorization_type = "NONE"
  invoke_mode        = "BUFFERED"
  cors {
    allow_credentials = true
    allow_origins     = ["https://example.com"]
    allow_methods     = ["GET", "POST"]
    allow_headers     = ["date"]
    expose_headers    = ["keep-alive"]
    max_age           = 60
  }
}

resource "aws_lambda_permission" "s3" {
  statement_id   = "s3"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.shop.function_name
  qualifier      = aws_lambda_alias.live.name
  principal      = "s3.amazonaws.com"
  source_arn     = "arn:aws:s3:::bucket"
  source_account = "000000000000"
}

resource "aws_lambda_function_event_invoke_config" "live" {
  function_name                = aws_lambda_function.shop.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_event_age_in_seconds = 120
  maximum_retry_attempts       = 1
  destination_config {
    on_failure { destination = "arn:aws:sqs:eu-west-1:000000000000:failed" }
    on_success { destination = "arn:aws:sns:eu-west-1:000000000000:done" }
  }
}

resource "aws_lambda_event_source_mapping" "queue" {
  event_source_arn                   = "arn:aws:sqs:eu-west-1:000000000000:orders"
  function_name                      = aws_lambda_alias.live.arn
  enabled                            = false
  batch_size                         = var.memory / 16
  maximum_batching_window_in_seconds = 1
  function_response_types            = ["ReportBatchItemFailures"]
  filter_criteria {
    filter { pattern = jsonencode({ body = { kind = ["order"] } }) }
  }
  scaling_config { maximum_concurrency = 2 }
  tags = { team = "shop" }
}

resource "aws_lambda_function_recursion_config" "shop" {
  function_name  = aws_lambda_function.shop.function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_runtime_management_config" "shop" {
  function_name     = aws_lambda_function.shop.function_name
  update_runtime_on = "FunctionUpdate"
}

resource "aws_lambda_code_signing_config" "shop" {
  description = "signed"
  allowed_publishers { signing_profile_version_arns = ["arn:aws:signer:eu-west-1:000000000000:/signing-profiles/p/abcdefghij"] }
  policies { untrusted_artifact_on_deployment = "Warn" }
  tags = { team = "shop" }
}

resource "aws_lambda_invocation" "shop" {
  function_name = aws_lambda_function.shop.function_name
  qualifier     = aws_lambda_alias.live.name
  input         = jsonencode({ name = "terraform" })
}

data "aws_lambda_alias" "live" {
  function_name = aws_lambda_alias.live.function_name
  name          = aws_lambda_alias.live.name
}

data "aws_lambda_layer_version" "libs" {
  layer_name = "tf-libs"
  depends_on = [aws_lambda_layer_version.libs]
}

data "aws_lambda_functions" "all" { depends_on = [aws_lambda_function.shop] }

output "answer" { value = jsondecode(aws_lambda_invocation.shop.result) }
output "url" { value = aws_lambda_function_url.live.function_url }
output "version" { value = aws_lambda_function.shop.version }
output "alias" { value = data.aws_lambda_alias.live.function_version }
output "libs" { value = data.aws_lambda_layer_version.libs.version }
output "listed" { value = contains(data.aws_lambda_functions.all.function_names, "tf-shop") } # others come and go
