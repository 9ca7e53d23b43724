# One door for people and for CI. Bare `make` prints this list.
VENV := .venv
BIN := $(VENV)/bin
PATH := $(CURDIR)/$(BIN):$(PATH)
SHELL := /bin/bash
PROTO := lockservice/v1/lockservice.proto
STUBS := clients/python/src/lockservice_client/_stubs

.DEFAULT_GOAL := help

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / \t/' | expand -t 16

$(VENV)/.installed: pyproject.toml clients/python/pyproject.toml
	test -d $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[embedded]' -e clients/python --group dev
	@touch $@

setup: $(VENV)/.installed ## create .venv with the service, its embedded default, the Python client and lockctl

generate: setup ## make the Python code of the proto again, for the service and for the client
	googleapis=$$($(BIN)/python -c 'import google.rpc; print(google.rpc.__path__[0].removesuffix("/google/rpc"))') && \
	$(BIN)/python -m grpc_tools.protoc -Iprotos -I$$googleapis \
	  --python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. $(PROTO)
	cp lockservice/v1/*_pb2*.py lockservice/v1/*_pb2*.pyi $(STUBS)/
	sed -i -E 's/from lockservice\.v1 import/from lockservice_client._stubs import/' $(STUBS)/*_grpc.py*

.PHONY: help setup generate
