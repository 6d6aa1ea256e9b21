import {
  MemberAnswer,
  MemberChange,
  MemberList,
  NewProject,
  NewRobotRequest,
  PageQuery,
  ProjectAnswer,
  ProjectChange,
  ProjectList,
  RobotAnswer,
  RobotChange,
  RobotList,
  RobotSecret,
} from '../../proto/hubapi/admin.ts';
import { robotLogin } from '../access/project.ts';
import type { ProjectRow, RobotRow } from '../access/store.ts';
import { pageOf, timeText } from './page.ts';
import { route, type ApiRoute } from './route.ts';
import type { Administration } from '../access/administration.ts';

type Modules = { administration: Administration };

/** What is in a project is looked up by the project of the URL and its own name, never alone. */
export function projectRoutes(modules: Modules): ApiRoute[] {
  return [...ownRoutes(modules), ...memberRoutes(modules), ...robotRoutes(modules)];
}

function ownRoutes({ administration }: Modules): ApiRoute[] {
  const tag = 'projects';
  return [
    route('GET /projects', {
      tag,
      allowed: 'account',
      summary: 'lists the projects one may read, by name',
      query: PageQuery,
      answer: ProjectList,
      run: async ({ identity: { subject }, query }) => {
        const page = pageOf(query);
        const rows =
          subject.kind === 'account'
            ? await administration.projectsOf(subject.name, page)
            : await administration.projects(page);
        return { projects: rows.map(projectAnswer) };
      },
    }),
    route('POST /projects', {
      tag,
      allowed: 'admin',
      summary: 'makes a project',
      status: 201,
      body: NewProject,
      answer: ProjectAnswer,
      run: async ({ body: { name, visibility } }) => {
        await administration.createProject(name, visibility);
        return projectAnswer(await administration.project(name));
      },
    }),
    route('GET /projects/:project', {
      tag,
      allowed: { role: 'guest' },
      summary: 'one project',
      answer: ProjectAnswer,
      run: async ({ params: { project = '' } }) =>
        projectAnswer(await administration.project(project)),
    }),
    route('PATCH /projects/:project', {
      tag,
      allowed: { role: 'admin' },
      summary: 'makes a project public or private',
      body: ProjectChange,
      answer: ProjectAnswer,
      run: async ({ params: { project = '' }, body }) => {
        await administration.setVisibility(project, body.visibility);
        return projectAnswer(await administration.project(project));
      },
    }),
    route('DELETE /projects/:project', {
      tag,
      allowed: { role: 'admin' },
      summary: 'deletes a project without repositories',
      run: async ({ params: { project = '' } }) => await administration.deleteProject(project),
    }),
  ];
}

function memberRoutes({ administration }: Modules): ApiRoute[] {
  const tag = 'members';
  return [
    route('GET /projects/:project/members', {
      tag,
      allowed: { role: 'developer' },
      summary: 'lists the members of a project',
      query: PageQuery,
      answer: MemberList,
      run: async ({ params: { project = '' }, query }) => {
        await administration.project(project);
        return { members: await administration.members(project, pageOf(query)) };
      },
    }),
    route('PUT /projects/:project/members/:account', {
      tag,
      allowed: { role: 'admin' },
      summary: 'adds a member or changes its role',
      body: MemberChange,
      answer: MemberAnswer,
      run: async ({ params: { project = '', account = '' }, body: { role } }) => {
        await administration.putMember(project, account, role);
        return { account, role };
      },
    }),
    route('DELETE /projects/:project/members/:account', {
      tag,
      allowed: { role: 'admin' },
      summary: 'removes a member',
      run: async ({ params: { project = '', account = '' } }) =>
        await administration.deleteMember(project, account),
    }),
  ];
}

function robotRoutes({ administration }: Modules): ApiRoute[] {
  const tag = 'robots';
  return [
    route('GET /projects/:project/robots', {
      tag,
      allowed: { role: 'maintainer' },
      summary: 'lists the robots of a project',
      query: PageQuery,
      answer: RobotList,
      run: async ({ params: { project = '' }, query }) => {
        await administration.project(project);
        const rows = await administration.robots(project, pageOf(query));
        return { robots: rows.map(robotAnswer) };
      },
    }),
    route('POST /projects/:project/robots', {
      tag,
      allowed: { role: 'admin' },
      summary: 'makes a robot and tells its secret',
      status: 201,
      body: NewRobotRequest,
      answer: RobotSecret,
      run: async ({ params: { project = '' }, body }) => {
        const { name, description = '', permissions, expiresInMs } = body;
        const wish = { project, name, description, permissions, expiresInMs };
        return administration.createRobot(wish);
      },
    }),
    route('GET /projects/:project/robots/:robot', {
      tag,
      allowed: { role: 'maintainer' },
      summary: 'one robot',
      answer: RobotAnswer,
      run: async ({ params: { project = '', robot = '' } }) =>
        robotAnswer(await administration.robot(project, robot)),
    }),
    route('PATCH /projects/:project/robots/:robot', {
      tag,
      allowed: { role: 'admin' },
      summary: 'disables a robot or changes its end',
      body: RobotChange,
      answer: RobotAnswer,
      run: async ({ params: { project = '', robot = '' }, body }) => {
        await administration.changeRobot(project, robot, body);
        return robotAnswer(await administration.robot(project, robot));
      },
    }),
    route('POST /projects/:project/robots/:robot/secret', {
      tag,
      allowed: { role: 'admin' },
      summary: 'gives a robot a new secret',
      status: 201,
      answer: RobotSecret,
      run: async ({ params: { project = '', robot = '' } }) =>
        administration.refreshRobot(project, robot),
    }),
    route('DELETE /projects/:project/robots/:robot', {
      tag,
      allowed: { role: 'admin' },
      summary: 'deletes a robot',
      run: async ({ params: { project = '', robot = '' } }) =>
        await administration.deleteRobot(project, robot),
    }),
  ];
}

function projectAnswer({ name, visibility, createdAtMs }: ProjectRow): object {
  return { name, visibility, created: timeText(createdAtMs) };
}

/** Never the hash of the secret. */
function robotAnswer(row: RobotRow): object {
  const { name, description, permissions, disabled, expiresAtMs, createdAtMs } = row;
  const expires = expiresAtMs === undefined ? null : timeText(expiresAtMs);
  const rest = { description, permissions, disabled, expires, created: timeText(createdAtMs) };
  return { name, login: robotLogin(row), ...rest };
}
