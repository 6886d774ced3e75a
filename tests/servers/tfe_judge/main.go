// SPDX-License-Identifier: MIT

// HashiCorp's go-tfe against the server at TFE_ADDRESS, with the token TFE_TOKEN: an organization that is empty but for the workspace
// "held", which TFE_HOLDER ("user", "team" or "run") has locked. Prints a line for each thing that was as go-tfe understands it, and
// ends with 1 at the first that was not.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	tfe "github.com/hashicorp/go-tfe"
)

const manyWorkspaces = 45

func check(what string, ok bool, got any) {
	if !ok {
		fmt.Printf("FAILED %s: %v\n", what, got)
		os.Exit(1)
	}
	fmt.Println("ok", what)
}

func state(serial int, lineage, text string) []byte {
	return fmt.Appendf(nil, `{"version":4,"terraform_version":"1.11.4","serial":%d,"lineage":"%s","outputs":{"t":{"value":"%s","type":"string"}},`+
		`"resources":[]}`+"\n", serial, lineage, text)
}

func options(serial int, lineage string, body []byte) tfe.StateVersionCreateOptions {
	return tfe.StateVersionCreateOptions{Serial: tfe.Int64(int64(serial)), MD5: tfe.String(fmt.Sprintf("%x", md5.Sum(body))),
		Lineage: tfe.String(lineage), Force: tfe.Bool(false)}
}

func names(list *tfe.WorkspaceList) string {
	var all []string
	for _, w := range list.Items {
		all = append(all, w.Name)
	}
	return strings.Join(all, " ")
}

type judge struct {
	*tfe.Client
	ctx          context.Context
	organization string
}

func (j *judge) list(o tfe.WorkspaceListOptions) *tfe.WorkspaceList {
	list, err := j.Workspaces.List(j.ctx, j.organization, &o)
	if err != nil {
		check("list", false, err)
	}
	return list
}

func (j *judge) theOrganization() {
	o, err := j.Organizations.Read(j.ctx, j.organization)
	check("organization", err == nil && o.Name == j.organization, err)
	e, err := j.Organizations.ReadEntitlements(j.ctx, j.organization)
	check("entitlements", err == nil && e.StateStorage, err)
	_, err = j.Organizations.Read(j.ctx, "another")
	check("no organization", errors.Is(err, tfe.ErrResourceNotFound), err)
	p, err := j.Projects.List(j.ctx, j.organization, &tfe.ProjectListOptions{Name: "Default Project"})
	check("projects", err == nil && len(p.Items) == 1 && p.TotalCount == 1, err)
	check("version", j.RemoteAPIVersion() != "" || j.IsEnterprise(), j.RemoteAPIVersion())
}

func (j *judge) theWorkspaces() *tfe.Workspace {
	for i := range manyWorkspaces {
		w, err := j.Workspaces.Create(j.ctx, j.organization, tfe.WorkspaceCreateOptions{Name: tfe.String(fmt.Sprintf("many-%02d", i)),
			ExecutionMode: tfe.String("local"), TerraformVersion: tfe.String("1.11.4"), Description: tfe.String("one of many")})
		if err != nil || w.ExecutionMode != "local" || w.Operations {
			check("create", false, err)
		}
	}
	_, err := j.Workspaces.Create(j.ctx, j.organization, tfe.WorkspaceCreateOptions{Name: tfe.String("many-00")})
	check("a name that is taken", err != nil && strings.Contains(err.Error(), "already been taken"), err)
	seen, page := 0, 1
	for page != 0 {
		list := j.list(tfe.WorkspaceListOptions{ListOptions: tfe.ListOptions{PageNumber: page, PageSize: 20}})
		check(fmt.Sprintf("page %d", page), list.TotalCount == manyWorkspaces+1 && list.TotalPages == 3, list.Pagination)
		seen, page = seen+len(list.Items), list.NextPage
	}
	check("all pages", seen == manyWorkspaces+1, seen)
	check("default page", len(j.list(tfe.WorkspaceListOptions{}).Items) == 20, nil)
	check("search", len(j.list(tfe.WorkspaceListOptions{Search: "MANY-1"}).Items) == 10, nil)
	check("wildcard", names(j.list(tfe.WorkspaceListOptions{WildcardName: "*-44"})) == "many-44", nil)
	check("sort", strings.HasPrefix(names(j.list(tfe.WorkspaceListOptions{Sort: "-name"})), "many-44 many-43"), nil)

	w, err := j.Workspaces.Read(j.ctx, j.organization, "many-07")
	check("by name", err == nil && w.Permissions.CanLock && w.Project != nil, err)
	_, err = j.Workspaces.Read(j.ctx, j.organization, "none")
	check("no workspace", errors.Is(err, tfe.ErrResourceNotFound), err)
	w, err = j.Workspaces.UpdateByID(j.ctx, w.ID, tfe.WorkspaceUpdateOptions{Name: tfe.String("renamed")})
	check("rename", err == nil && w.Name == "renamed", err)
	_, err = j.Workspaces.AddTagBindings(j.ctx, w.ID, tfe.WorkspaceAddTagBindingsOptions{TagBindings: []*tfe.TagBinding{
		{Key: "env", Value: "prod"}}})
	check("tag bindings", err == nil, err)
	check("by value", names(j.list(tfe.WorkspaceListOptions{TagBindings: []*tfe.TagBinding{{Key: "env", Value: "prod"}}})) == "renamed", nil)
	check("by other value", names(j.list(tfe.WorkspaceListOptions{TagBindings: []*tfe.TagBinding{{Key: "env", Value: "x"}}})) == "", nil)
	check("by tag", names(j.list(tfe.WorkspaceListOptions{Tags: "env"})) == "renamed", nil)
	check("by project", len(j.list(tfe.WorkspaceListOptions{ProjectID: w.Project.ID}).Items) == 20, nil)
	check("by another project", names(j.list(tfe.WorkspaceListOptions{ProjectID: "prj-none"})) == "", nil)
	return w
}

func (j *judge) theLock(w *tfe.Workspace) {
	got, err := j.Workspaces.Lock(j.ctx, w.ID, tfe.WorkspaceLockOptions{Reason: tfe.String("judged")})
	check("lock", err == nil && got.Locked, err)
	got, err = j.Workspaces.ReadByIDWithOptions(j.ctx, w.ID, &tfe.WorkspaceReadOptions{Include: []tfe.WSIncludeOpt{"locked_by"}})
	check("who holds it", err == nil && got.LockedBy != nil && got.LockedBy.User != nil && got.LockedBy.User.Username != "", err)
	_, err = j.Workspaces.Lock(j.ctx, w.ID, tfe.WorkspaceLockOptions{})
	check("locked by oneself", errors.Is(err, tfe.ErrWorkspaceLocked), err)
	_, err = j.Workspaces.Unlock(j.ctx, w.ID)
	check("unlock", err == nil, err)
	_, err = j.Workspaces.Unlock(j.ctx, w.ID)
	check("not locked", errors.Is(err, tfe.ErrWorkspaceNotLocked), err)
	_, err = j.Workspaces.ForceUnlock(j.ctx, w.ID)
	check("force: not locked", errors.Is(err, tfe.ErrWorkspaceNotLocked), err)

	held, err := j.Workspaces.Read(j.ctx, j.organization, "held")
	check("held", err == nil && held.Locked, err)
	_, err = j.Workspaces.Unlock(j.ctx, held.ID)
	wanted := map[string]error{"user": tfe.ErrWorkspaceLockedByUser, "team": tfe.ErrWorkspaceLockedByTeam, "run": tfe.ErrWorkspaceLockedByRun}
	check("held by another", errors.Is(err, wanted[os.Getenv("TFE_HOLDER")]), err)
	check("not safe to delete", errors.Is(j.Workspaces.SafeDeleteByID(j.ctx, held.ID), tfe.ErrWorkspaceLockedCannotDelete), nil)
	_, err = j.Workspaces.ForceUnlock(j.ctx, held.ID)
	check("force", err == nil, err)
	check("safe to delete", j.Workspaces.SafeDeleteByID(j.ctx, held.ID) == nil, nil)
}

func (j *judge) theVersions(w *tfe.Workspace) {
	const lineage = "0a1b2c3d-0000-4000-8000-00000000f00d"
	_, err := j.StateVersions.ReadCurrent(j.ctx, w.ID)
	check("no state", errors.Is(err, tfe.ErrResourceNotFound), err)
	refused := func(what, text string, serial int, of string, body []byte) {
		o := options(serial, of, body)
		o.State = tfe.String(base64.StdEncoding.EncodeToString(body))
		_, err := j.StateVersions.Create(j.ctx, w.ID, o)
		check(what, err != nil && strings.Contains(err.Error(), text), err)
	}
	refused("upload without lock", "not locked", 1, lineage, state(1, lineage, "one"))
	_, err = j.Workspaces.Lock(j.ctx, w.ID, tfe.WorkspaceLockOptions{})
	check("lock again", err == nil, err)

	inside := options(3, lineage, state(3, lineage, "three"))
	inside.State = tfe.String(base64.StdEncoding.EncodeToString(state(3, lineage, "three")))
	v, err := j.StateVersions.Create(j.ctx, w.ID, inside)
	check("in one step", err == nil && v.Status == tfe.StateVersionFinalized && v.Serial == 3, err)
	refused("older", "not greater than the serial", 2, lineage, state(2, lineage, "two"))
	refused("same serial, other bytes", "MD5 hash", 3, lineage, state(3, lineage, "other"))
	refused("another lineage", "does not match", 4, "another", state(4, "another", "four"))

	body := state(4, lineage, "four")
	v, err = j.StateVersions.Create(j.ctx, w.ID, options(4, lineage, body))
	check("announced", err == nil && v.Status == tfe.StateVersionPending && v.UploadURL != "" && v.DownloadURL == "", err)
	_, err = j.Workspaces.Unlock(j.ctx, w.ID)
	check("no unlock while pending", err != nil && strings.Contains(err.Error(), "still pending"), err)
	v, err = j.StateVersions.Upload(j.ctx, w.ID, tfe.StateVersionUploadOptions{StateVersionCreateOptions: options(4, lineage, body),
		RawState: body, RawJSONState: []byte("{}")})
	check("in two steps", err == nil && v.Status == tfe.StateVersionFinalized && v.UploadURL == "" && v.Size == int64(len(body)), err)
	now, err := j.StateVersions.ReadCurrent(j.ctx, w.ID)
	check("current", err == nil && now.ID == v.ID, err)
	got, err := j.StateVersions.Download(j.ctx, now.DownloadURL)
	check("download", err == nil && bytes.Equal(got, body), err)
	all, err := j.StateVersions.List(j.ctx, &tfe.StateVersionListOptions{Organization: j.organization, Workspace: w.Name})
	check("history", err == nil && len(all.Items) == 3 && all.Items[0].ID == v.ID && all.Items[1].Status == "discarded", err)
	check("newest first", all.Items[0].Serial == 4 && all.Items[2].Serial == 3, nil)
	newest := j.list(tfe.WorkspaceListOptions{Sort: "-latest-change-at"})
	check("newest change", newest.Items[0].ID == w.ID && newest.Items[0].CurrentStateVersion.ID == v.ID, names(newest))
	_, err = j.Workspaces.Unlock(j.ctx, w.ID)
	check("unlock again", err == nil, err)
	check("delete", j.Workspaces.Delete(j.ctx, j.organization, w.Name) == nil, nil)
}

func main() {
	client, err := tfe.NewClient(&tfe.Config{Address: os.Getenv("TFE_ADDRESS"), Token: os.Getenv("TFE_TOKEN")})
	check("ping", err == nil, err)
	j := &judge{client, context.Background(), os.Getenv("TFE_ORGANIZATION")}
	j.theOrganization()
	w := j.theWorkspaces()
	j.theLock(w)
	j.theVersions(w)
}
