package qemutests

import (
	"context"
	"fmt"
	"time"

	"github.com/sidusboot/sidusboot/versions"
)

// PublishTree copies a tree into the lab's memory as the one version of a base, and
// returns the base's path inside the lab.
func (l *Lab) PublishTree(ctx context.Context, tree string) (string, error) {
	dir := "/run/" + l.name("base")
	if _, err := l.Output(ctx, "sh", "-ec", `mkdir "$1"; mount -t tmpfs -o mode=755,size=3g base "$1"`, "base", dir); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	base := dir + "/versions.d"
	if err := versions.Init(ctx, l.Path(base), tree, nil); err != nil {
		return "", err
	}
	b, err := versions.Open(l.Path(base))
	if err != nil {
		return "", err
	}
	defer b.Close()
	_, err = b.Publish(ctx, versions.PublishOptions{ID: "a", Now: time.Now()})
	return base, err
}
