#!/usr/bin/env bash
# Writes the TypeScript of the protos into a directory.
set -eu
python=${LOCKSERVICE_PYTHON:-../../.venv/bin/python}
google=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
options=outputServices=grpc-js,env=node,esModuleInterop=true,importSuffix=.js,outputJsonMethods=false
options+=,outputPartialMethods=false,outputTypeRegistry=false,removeEnumPrefix=false,useExactTypes=false
"$python" -m grpc_tools.protoc --plugin=protoc-gen-ts_proto=node_modules/.bin/protoc-gen-ts_proto \
  -I ../../protos -I "$google" --ts_proto_out="$1" --ts_proto_opt="$options" \
  lockservice/v1/lockservice.proto google/rpc/error_details.proto
