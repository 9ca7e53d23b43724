#!/usr/bin/env bash
# Writes the Go code of the proto into a directory; the plugins' versions stand in go.mod.
set -eu
python=${LOCKSERVICE_PYTHON:-../../.venv/bin/python}
google=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p build/bin "$1"
go build -o build/bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
PATH="$PWD/build/bin:$PATH" "$python" -m grpc_tools.protoc -I ../../protos -I "$google" \
  --go_out="$1" --go_opt=module=lockservice.dev/clients/go \
  --go-grpc_out="$1" --go-grpc_opt=module=lockservice.dev/clients/go lockservice/v1/lockservice.proto
