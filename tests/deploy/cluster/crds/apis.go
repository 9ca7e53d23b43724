// Package crds names the types that custom resource definitions are made of.
package crds

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
